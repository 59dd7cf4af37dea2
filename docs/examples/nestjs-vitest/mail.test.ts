import { Test, type TestingModule } from '@nestjs/testing';
import { QueueEvents } from 'bullmq';
import { server } from 'toril/vitest';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MailModule, MailService, PostOffice } from './mail.module';

const { connection } = server;
let module: TestingModule;
let events: QueueEvents;
let sent: string[];
let mood: 'open' | 'closed';

beforeEach(async () => {
  sent = [];
  mood = 'open';
  const post = {
    async send(to: string) {
      if (mood === 'closed') throw new Error('the post office is closed');
      sent.push(to);
    },
  };
  const builder = Test.createTestingModule({ imports: [MailModule.on(connection)] });
  module = await builder.overrideProvider(PostOffice).useValue(post).compile();
  await module.init();
  events = new QueueEvents('mail', { connection });
  await events.waitUntilReady();
});

// The module closes its worker and its queue; then the server is emptied.
afterEach(async () => {
  await events.close();
  await module.close();
});

test('the service enqueues and the processor sends', async () => {
  const job = await module.get(MailService).welcome('ada@example.com');
  await job.waitUntilFinished(events);
  expect(sent).toEqual(['ada@example.com']);
});

test('a closed post office fails the job at its second try', async () => {
  mood = 'closed';
  const job = await module.get(MailService).welcome('ada@example.com');
  await expect(job.waitUntilFinished(events)).rejects.toThrow('the post office is closed');
  expect(sent).toEqual([]);
});
