// The application: it takes sign-ups over HTTP, and its worker writes the letters. In production
// REDIS_URL leads to Redis.
import { createServer } from 'node:http';
import { Queue, Worker } from 'bullmq';

const connection = { url: process.env.REDIS_URL, maxRetriesPerRequest: null };
const queue = new Queue('mail', { connection });
const sent = [];
new Worker('mail', async (job) => void sent.push(job.data.to), { connection });

const routes = {
  'GET /health': () => 'well',
  'GET /sent': () => JSON.stringify(sent),
  'POST /signups': async (body) => (await queue.add('welcome', { to: body })).id,
};

createServer(async (request, response) => {
  const route = routes[`${request.method} ${request.url}`];
  if (route === undefined) return response.writeHead(404).end();
  let body = '';
  for await (const part of request) body += part;
  response.end(await route(body));
}).listen(3211, '127.0.0.1');
