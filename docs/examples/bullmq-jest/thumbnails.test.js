const { QueueEvents } = require('bullmq');
const { server } = require('toril/jest');
const { addImage, flowsOn, startWorkers } = require('./thumbnails');

let events, flows, workers;

// The server starts in `beforeAll`, so its connection is known from here on.
beforeAll(async () => {
  const { connection } = server;
  flows = flowsOn(connection);
  events = new QueueEvents('album', { connection });
  workers = startWorkers(connection, async (image, size) => `${image}-${size}.webp`);
  await events.waitUntilReady();
});

afterAll(async () => {
  for (const it of [...workers, flows, events]) await it.close();
});

test('an album has a thumbnail of each size', async () => {
  const { job } = await addImage(flows, 'cat');
  expect(await job.waitUntilFinished(events)).toEqual(['cat-256.webp', 'cat-64.webp']);
});

test('a second image begins on an empty server', async () => {
  const { job } = await addImage(flows, 'dog');
  expect(await job.waitUntilFinished(events)).toEqual(['dog-256.webp', 'dog-64.webp']);
  expect(await server.command('ZCARD', 'bull:album:completed')).toBe(1);
});
