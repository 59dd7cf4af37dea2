const { Queue, Worker } = require('bullmq');
const { server } = require('toril/jest');

const early = (() => {
  try {
    return server.url;
  } catch (error) {
    return error.message;
  }
})();

let queue;
beforeAll(() => {
  queue = new Queue('mail', { connection: server.connection });
});
afterAll(() => queue.close());

test('the server is not there while the file is read', () => {
  expect(early).toBe(
    'toril: the server of this file starts in beforeAll: use it inside of tests and hooks, ' +
      'not where the file begins',
  );
});

test.each([1, 2, 3])('test %i has a job done on an empty server', async (number) => {
  // Numbers begin again at 1: the job of the test before has gone.
  expect(await server.command('EXISTS', 'bull:mail:1')).toBe(0);
  const { connection } = server;
  const worker = new Worker('mail', async (job) => job.data.number, { connection });
  const done = new Promise((resolve) => worker.on('completed', (job, answer) => resolve(answer)));
  await queue.add('welcome', { number });
  expect(await done).toBe(number);
  await worker.close();
});
