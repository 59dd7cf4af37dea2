// What a job costs the server, from its addition to its end.

import {
  addBulk, addOneByOne, connection, inFlight, mail, processAll, require, sizes, timed, withQueue,
} from './client.mjs';

const { FlowProducer } = require('bullmq-6');

const CHILDREN = 10;

// Node compiles what it runs often, and a server meets each script for the first time.
await withQueue('warm-up', async (queue) => {
  await addOneByOne(queue, sizes.warmUp);
  await addBulk(queue, sizes.warmUp);
  await processAll(queue, 2 * sizes.warmUp, 50);
});
await measureFlows('warm-up', sizes.warmUp / 10);

const add = await withQueue('add', (queue) =>
  timed(sizes.add, () => addOneByOne(queue, sizes.add)),
);
const bulk = await withQueue('bulk', (queue) =>
  timed(sizes.bulk, () => addBulk(queue, sizes.bulk)),
);
const process1 = await measureProcess(sizes.process1, 1);
const process50 = await measureProcess(sizes.process50, 50);
const flow = await measureFlows('flow', sizes.flows);
const both = { cpu: add.cpu + process50.cpu, rate: 1 / (1 / add.rate + 1 / process50.rate) };
console.log(JSON.stringify({ add, bulk, process1, process50, both, flow }));

function measureProcess(count, concurrency) {
  return withQueue(`process-${concurrency}`, async (queue) => {
    await addBulk(queue, count);
    return timed(count, () => processAll(queue, count, concurrency));
  });
}

/** Parents that each wait for their children, added and processed. */
function measureFlows(name, count) {
  const [parents, children] = [`${name}-parents`, `${name}-children`];
  return withQueue(parents, (parentQueue) =>
    withQueue(children, async (childQueue) => {
      const producer = new FlowProducer({ connection });
      const child = (_, number) => ({ name: 'mail', queueName: children, data: mail(number) });
      const tree = (number) => ({
        name: 'mail',
        queueName: parents,
        data: mail(number),
        children: Array.from({ length: CHILDREN }, child),
      });
      const figures = await timed(count * (1 + CHILDREN), async () => {
        await inFlight(count, (number) => producer.add(tree(number)));
        await Promise.all([
          processAll(childQueue, count * CHILDREN, 50),
          processAll(parentQueue, count, 50),
        ]);
      });
      await producer.close();
      return figures;
    }),
  );
}
