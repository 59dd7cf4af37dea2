// What is tested: letters are sent by a worker, and tried again when the post office is closed.
import { Queue, Worker } from 'bullmq';

export function mailQueue(connection) {
  return new Queue('mail', { connection });
}

/** Sends what is in the queue by `send(to, text)`. */
export function mailWorker(connection, send) {
  return new Worker('mail', (job) => send(job.data.to, `Hello ${job.data.name}`), { connection });
}

export function welcome(queue, to, name) {
  return queue.add('welcome', { to, name }, { attempts: 3, backoff: 10 });
}
