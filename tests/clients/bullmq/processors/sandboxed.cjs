// Runs in a process or thread of its own: the worker hands it jobs and relays what it asks for.

module.exports = async function sandboxed(job) {
  if (job.name === 'broken') throw new Error('broken in the sandbox');
  await job.updateProgress(50);
  await job.log(`saw ${job.data.value}`);
  return { doubled: job.data.value * 2, pid: process.pid };
};
