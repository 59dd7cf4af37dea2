/// <reference lib="esnext.disposable" />

/** What `start` is told. Everything may be left out. */
export interface StartOptions {
  /** More words for the command line, such as `['--maxmemory', '50mb']`. */
  args?: readonly string[];
  /** Whether time can be moved: `server.clock`. */
  clock?: boolean;
  /** Whether Upstash's REST API is served as well: `server.http`. */
  http?: boolean;
  /** A file that `server.save` has written: the server begins with its data, and so does `restore()`. */
  snapshot?: string;
  /** Habits to look for that do harm elsewhere: all of them, or checks such as `'crossslot,keys=error'`. */
  strict?: string | boolean;
  /** Whose commands there are, and no others: `'elasticache'`, `'redis-6.2'`. */
  provider?: string;
}

/** A span: milliseconds, or a text such as `'90s'`, `'2h'` or `'1h30m'`. */
export type Duration = number | string;
/** A moment: a Date, milliseconds since 1970, or ISO 8601 with a zone. */
export type Moment = Date | number | string;

/** What a command can answer. */
export type Reply =
  | string
  | number
  | bigint
  | boolean
  | null
  | Reply[]
  | { [key: string]: Reply };

export interface AdvanceOptions {
  /** At once, and not from due moment to due moment. */
  jump?: boolean;
  /** Real milliseconds to wait for idleness at each step. */
  timeout?: number;
  /** Locks age as well, as if their holders were gone. */
  locks?: boolean;
  /** Told the new time in milliseconds: `(ms) => vi.setSystemTime(ms)`. */
  set?: (ms: number) => void;
}

/** The time of the server, which needs `clock: true`. */
export interface Clock {
  read(): Promise<{ [key: string]: Reply }>;
  advance(duration: Duration, options?: AdvanceOptions): Promise<Reply>;
  advanceTo(time: Moment, options?: AdvanceOptions): Promise<Reply>;
  freeze(at?: Moment): Promise<Reply>;
  resume(): Promise<Reply>;
  auto(until?: Duration | Moment): Promise<Reply>;
  keep(...globs: string[]): Promise<Reply>;
  reset(): Promise<Reply>;
}

export interface IdleOptions {
  /** Real milliseconds to wait. */
  timeout?: number;
  /** Jobs that are due within it count as something to do. */
  horizon?: Duration;
  /** Whether jobs may have failed meanwhile. */
  allowFailed?: boolean;
}

/** A rule of TORIL FAULT ADD as an object of its words. */
export interface FaultRule {
  action: string;
  [word: string]: string | number | readonly string[];
}

export interface ExpectedJob {
  name?: string;
  /** A part of the job's data. */
  data?: unknown;
  count?: number;
  /** Real milliseconds to wait for it. */
  within?: number;
  /** The server's time to wait for. */
  by?: Moment;
}

export interface JobStates {
  toBeAdded(): Promise<Reply>;
  toBeActive(): Promise<Reply>;
  toComplete(): Promise<Reply>;
  toFail(): Promise<Reply>;
  toBeDelayed(): Promise<Reply>;
}

export interface JobExpectation extends JobStates {
  never: JobStates;
}

/** What ioredis, BullMQ and Bull take as a connection. */
export interface ConnectionOptions {
  host: string;
  port: number;
  maxRetriesPerRequest: null;
}

/** A running server. It ends with the process that started it, however that ends. */
export interface Server extends AsyncDisposable {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly pid: number;
  /** An object of its own each time. */
  readonly connection: ConnectionOptions;
  readonly http: { url: string; token: string } | undefined;
  /** REDIS_URL and its like, for the environment of a child process. */
  readonly env: Record<string, string>;
  readonly clock: Clock;
  readonly expect: { job(queue: string, what?: ExpectedJob): JobExpectation };
  /** Runs any command of Redis or of toril. */
  command(...words: (string | number | readonly (string | number)[])[]): Promise<Reply>;
  /** Waits until these queues, or all, have nothing to do. */
  idle(queues?: string | readonly string[], options?: IdleOptions): Promise<Reply>;
  /** Adds a fault and resolves to its name. */
  fault(rule: string | FaultRule): Promise<Reply>;
  /** Ends all faults, and empties the server once no job is active any more. */
  flush(): Promise<void>;
  snapshot(name?: string): Promise<Reply>;
  restore(name?: string): Promise<Reply>;
  /** Writes all data into a file for the option `snapshot`. */
  save(path: string): Promise<void>;
  /** Ends the server; may be called again. */
  stop(): Promise<void>;
}

/** Starts a server of its own on a free port of 127.0.0.1. */
export function start(options?: StartOptions): Promise<Server>;
export const toril: { start: typeof start; version: string };
export const version: string;
