// Sidekiq as Debian has it (tests/oracles.sh): jobs are asked for in a console and done by programs
// of workers, some of which are killed.

import assert from 'node:assert/strict';
import { before, beforeEach, test } from 'node:test';
import { jobs, notes, openConsole, ruby } from './sidekiq-programs.js';
import { until } from './support.js';

let ask;

/** A worker of one thread. It takes what is critical first. */
function startWorker() {
  const queues = ['--queue', 'critical', '--queue', 'default'];
  const options = ['--concurrency', '1', '--timeout', '1'];
  return ruby(['-S', 'sidekiq', '--require', jobs, ...queues, ...options], 'inherit');
}

async function stopWorker(worker, signal = 'SIGTERM') {
  worker.kill(signal);
  return worker.exited;
}

const written = () => ask(`Sidekiq.redis { |redis| redis.lrange('${notes}', 0, -1) }`);
const sizes = () =>
  ask(
    '[Sidekiq::Queue, Sidekiq::RetrySet, Sidekiq::ScheduledSet, Sidekiq::DeadSet].map { _1.new.size }',
  );

before(() => { ask = openConsole(); });
beforeEach(() => ask(`Sidekiq.redis { |redis| redis.del('${notes}') }`));

test('sidekiq: jobs are done in their order, in their time, and again if they fail', async () => {
  await ask('WriteDown.perform_bulk((1..100).map { |number| [number] }, batch_size: 30)');
  await ask("WriteDown.set(queue: 'critical').perform_async('critical')");
  const asked = Date.now();
  await ask("WriteDown.perform_in(0.5, 'in half a second')");
  await ask("WriteDown.perform_at(Time.now + 3600, 'never')");
  assert.deepEqual(await sizes(), [100, 0, 2, 0]);
  const worker = startWorker();
  await until(async () => (await written()).length === 102);

  const done = await written();
  assert(Date.now() - asked >= 500);
  assert(done.includes('in half a second'));
  const rest = done.filter((text) => text !== 'in half a second');
  assert.deepEqual(rest, ['critical', ...Array.from({ length: 100 }, (_, at) => String(at + 1))]);
  assert.deepEqual(await sizes(), [0, 0, 1, 0]);

  await ask(`Sidekiq.redis { |redis| redis.del('${notes}') }`);
  await ask('Shaky.perform_async');
  await ask('Hopeless.perform_async');
  await until(async () => (await ask('Sidekiq::DeadSet.new.size')) === 1);
  const failed = await ask('[Sidekiq::RetrySet, Sidekiq::DeadSet].map { _1.new.first.item }');
  assert.deepEqual(
    failed.map(({ class: name, error_message: message }) => [name, message]),
    [
      ['Shaky', 'the first attempt broke'],
      ['Hopeless', 'as asked'],
    ],
  );
  await ask('Sidekiq::RetrySet.new.retry_all');
  await until(async () => (await written()).length === 2);

  assert.deepEqual(await stopWorker(worker), [0, null]);
  const figures = await ask('Sidekiq::Stats.new.yield_self { [_1.processed, _1.failed] }');
  assert.deepEqual(figures, [102 + 3, 2]);
  await ask('[Sidekiq::DeadSet, Sidekiq::ScheduledSet].each { _1.new.clear }.size');
  assert.deepEqual(await sizes(), [0, 0, 0, 0]);
});

test('sidekiq: what a worker does when it stops, another does again', async () => {
  await ask('Survive.perform_async');
  const first = startWorker();
  await until(async () => (await written()).length === 1);
  await stopWorker(first);
  assert.deepEqual(await sizes(), [1, 0, 0, 0]);
  const second = startWorker();
  await until(async () => (await written()).length === 2);
  await stopWorker(second);
});

test('sidekiq: of a worker that is killed only the job in its hands is lost', async () => {
  await ask('Survive.perform_async');
  const first = startWorker();
  await until(async () => (await written()).length === 1);
  await ask("WriteDown.perform_async('kept')");
  await stopWorker(first, 'SIGKILL');
  assert.deepEqual(await sizes(), [1, 0, 0, 0]);

  // It counts as alive until its last sign of life is a minute old.
  const [dead] = await ask('Sidekiq::ProcessSet.new.map { _1.identity }');
  const ttl = await ask(`Sidekiq.redis { |redis| redis.ttl('${dead}') }`);
  assert(ttl > 0 && ttl <= 60, `${ttl} s`);
  await ask(`Sidekiq.redis { |redis| redis.pexpire('${dead}', 1) }`);
  await until(async () => (await ask('Sidekiq::ProcessSet.new.size')) === 0);

  startWorker();
  await until(async () => (await written()).length === 2);
  assert.deepEqual(await written(), ['run', 'kept']);
});
