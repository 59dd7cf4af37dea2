// What is tested: a flow, whose parent runs once the thumbnails of all sizes are made.
const { FlowProducer, Worker } = require('bullmq');

const SIZES = [64, 256];

function startWorkers(connection, scale) {
  const resize = new Worker('resize', (job) => scale(job.data.image, job.data.size), { connection });
  const album = new Worker(
    'album',
    async (job) => Object.values(await job.getChildrenValues()).sort(),
    { connection },
  );
  return [resize, album];
}

function addImage(flows, image) {
  const children = SIZES.map((size) => ({ name: 'resize', queueName: 'resize', data: { image, size } }));
  return flows.add({ name: 'album', queueName: 'album', data: { image }, children });
}

const flowsOn = (connection) => new FlowProducer({ connection });

module.exports = { addImage, flowsOn, startWorkers };
