// After all files: both have found the same server.
import Redis from 'ioredis';

export default function setup(project) {
  return async () => {
    const redis = new Redis(project.getProvidedContext().torilUrl);
    const count = await redis.get('files');
    redis.disconnect();
    if (count === '2') return;
    console.error(`${count} files have found the server, and not 2`);
    // vitest prints what a teardown throws and ends well all the same.
    process.exitCode = 1;
  };
}
