// Flows: parents that wait for their children.

import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { until } from '../support.js';
import { bullmq, feature, variant } from './variant.js';

describe(`${variant}: flows`, () => {
  feature('a flow three levels deep runs from the leaves to the root', async (lab) => {
    const queue = lab.queue();
    const queueName = lab.name;
    const leaf = (name, price) => ({ name, queueName, data: { price } });
    const tree = await lab.flow().add({
      name: 'car',
      queueName,
      children: [
        { name: 'engine', queueName, children: [leaf('piston', 3), leaf('valve', 4)] },
        { name: 'body', queueName, children: [leaf('door', 5), leaf('roof', 6), leaf('hood', 7)] },
      ],
    });
    assert.equal(await tree.job.getState(), 'waiting-children');
    assert.equal(await queue.getWaitingChildrenCount(), 3);

    const order = [];
    lab.worker(
      async (job) => {
        order.push(job.name);
        const parts = Object.values(await job.getChildrenValues());
        return parts.reduce((sum, part) => sum + part, job.data.price ?? 0);
      },
      { concurrency: 4 },
    );
    await lab.reaches(tree.job, 'completed');

    assert.equal((await queue.getJob(tree.job.id)).returnvalue, 3 + 4 + 5 + 6 + 7);
    assert.equal(order.length, 8);
    const before = (first, second) =>
      assert(order.indexOf(first) < order.indexOf(second), order.join());
    for (const part of ['piston', 'valve']) before(part, 'engine');
    for (const part of ['door', 'roof', 'hood']) before(part, 'body');
    for (const part of ['engine', 'body']) before(part, 'car');
  });

  feature('a flow spans queues', async (lab) => {
    const [parts, tools] = [`${lab.name}-parts`, `${lab.name}-tools`];
    const { job } = await lab.flow().add({
      name: 'assemble',
      queueName: lab.name,
      children: [
        { name: 'wheel', queueName: parts },
        { name: 'hammer', queueName: tools },
      ],
    });
    lab.worker((part) => part.name, {}, parts);
    lab.worker((tool) => tool.name, {}, tools);

    let values;
    lab.worker(async (parent) => {
      values = await parent.getChildrenValues();
    });
    await lab.reaches(job, 'completed');

    assert.deepEqual(Object.values(values).sort(), ['hammer', 'wheel']);
    assert(Object.keys(values).some((key) => key.startsWith(`bull:${parts}:`)));
  });

  feature('a flow is read back as a tree', async (lab) => {
    const flow = lab.flow();
    const queueName = lab.name;
    const { job } = await flow.add({
      name: 'root',
      queueName,
      children: [{ name: 'branch', queueName, children: [{ name: 'leaf', queueName }] }],
    });

    const tree = await flow.getFlow({ id: job.id, queueName });

    assert.equal(tree.job.name, 'root');
    assert.equal(tree.children[0].job.name, 'branch');
    assert.equal(tree.children[0].children[0].job.name, 'leaf');
    assert.equal(
      tree.children[0].children[0].job.parentKey,
      `bull:${queueName}:${tree.children[0].job.id}`,
    );
  });

  feature('flows are added in bulk', async (lab) => {
    const queueName = lab.name;
    const children = [1, 2, 3].map((data) => ({ name: 'child', queueName, data }));
    await lab
      .flow()
      .addBulk(
        Array.from({ length: 20 }, (_, data) => ({ name: 'parent', queueName, data, children })),
      );
    const queue = lab.queue();
    assert.equal(await queue.getWaitingCount(), 60);

    const sums = [];
    lab.worker(
      async (job) => {
        if (job.name === 'child') return job.data;
        const values = Object.values(await job.getChildrenValues());
        sums.push(values.reduce((sum, value) => sum + value, 0));
      },
      { concurrency: 10 },
    );
    await until(async () => (await queue.getCompletedCount()) === 80);

    assert.deepEqual(sums, Array(20).fill(6));
  });

  /** A parent with one child that fails and one that succeeds. */
  async function familyWithFailure(lab, opts) {
    const queueName = lab.name;
    lab.worker((job) => {
      if (job.name === 'bad') throw new Error('child broke');
      return job.name;
    });
    const { job } = await lab.flow().add({
      name: 'parent',
      queueName,
      children: [
        { name: 'bad', queueName, opts },
        { name: 'good', queueName },
      ],
    });
    return job;
  }

  feature('a failed child fails its parent where it is asked to', async (lab) => {
    const parent = await familyWithFailure(lab, { failParentOnFailure: true });
    await lab.reaches(parent, 'failed');

    const { failedReason } = await lab.queue().getJob(parent.id);
    assert.match(failedReason, /^child bull:.* failed$/);
  });

  feature('a failed child is left out where it is asked to', { since: 4 }, async (lab) => {
    const parent = await familyWithFailure(lab, { removeDependencyOnFailure: true });
    await lab.reaches(parent, 'completed');

    assert.deepEqual(Object.values(await parent.getChildrenValues()), ['good']);
  });

  feature('the reason of an ignored child reaches its parent', { since: 5 }, async (lab) => {
    const parent = await familyWithFailure(lab, { ignoreDependencyOnFailure: true });
    await lab.reaches(parent, 'completed');

    assert.deepEqual(Object.values(await parent.getIgnoredChildrenFailures()), ['child broke']);
    assert.deepEqual(Object.values(await parent.getChildrenValues()), ['good']);
  });

  feature('a parent waits for ever for a child that failed otherwise', async (lab) => {
    const parent = await familyWithFailure(lab, {});
    const queue = lab.queue();
    await until(
      async () => (await queue.getFailedCount()) === 1 && (await queue.getCompletedCount()) === 1,
    );

    assert.equal(await parent.getState(), 'waiting-children');
    assert.deepEqual(Object.values(await parent.getChildrenValues()), ['good']);
  });

  feature('a processor adds children and waits for them', { since: 4 }, async (lab) => {
    const queue = lab.queue();
    const seen = [];
    lab.worker(async (job, token) => {
      seen.push(job.name);
      if (job.name === 'child') return 'grown';
      if (!job.data.split) {
        const parent = { id: job.id, queue: job.queueQualifiedName };
        await queue.addBulk([1, 2].map(() => ({ name: 'child', data: {}, opts: { parent } })));
        await job.updateData({ split: true });
        assert(await job.moveToWaitingChildren(token));
        throw new bullmq.WaitingChildrenError();
      }
      return Object.values(await job.getChildrenValues());
    });

    const { id } = await queue.add('parent', {});
    const job = await until(async () => {
      const found = await queue.getJob(id);
      return found.finishedOn && found;
    });

    assert.deepEqual(job.returnvalue, ['grown', 'grown']);
    assert.deepEqual(seen, ['parent', 'child', 'child', 'parent']);
  });

  feature('a parent that is removed takes its waiting children along', async (lab) => {
    const queueName = lab.name;
    const queue = lab.queue();
    const { job } = await lab.flow().add({
      name: 'root',
      queueName,
      children: [{ name: 'branch', queueName, children: [{ name: 'leaf', queueName }] }],
    });

    await job.remove();

    assert.deepEqual(await queue.getJobCounts('wait', 'waiting-children'), {
      wait: 0,
      'waiting-children': 0,
    });
    assert.equal(await queue.getJob(job.id), undefined);
  });
});
