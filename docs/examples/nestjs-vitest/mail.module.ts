// What is tested: a module that takes letters into a queue, and a processor that sends them.
import 'reflect-metadata';
import { BullModule, InjectQueue, Processor, WorkerHost } from '@nestjs/bullmq';
import { type DynamicModule, Inject, Injectable, Module } from '@nestjs/common';
import type { ConnectionOptions, Job, Queue } from 'bullmq';

/** Whatever carries letters; tests put their own in its place. */
@Injectable()
export class PostOffice {
  async send(to: string): Promise<void> {
    throw new Error(`there is no post office yet for ${to}`);
  }
}

@Injectable()
export class MailService {
  constructor(@InjectQueue('mail') private readonly queue: Queue) {}

  welcome(to: string): Promise<Job> {
    return this.queue.add('welcome', { to }, { attempts: 2 });
  }
}

@Processor('mail')
export class MailProcessor extends WorkerHost {
  constructor(@Inject(PostOffice) private readonly post: PostOffice) {
    super();
  }

  process(job: Job): Promise<void> {
    return this.post.send(job.data.to);
  }
}

@Module({})
export class MailModule {
  static on(connection: ConnectionOptions): DynamicModule {
    return {
      module: MailModule,
      imports: [BullModule.forRoot({ connection }), BullModule.registerQueue({ name: 'mail' })],
      providers: [PostOffice, MailService, MailProcessor],
    };
  }
}
