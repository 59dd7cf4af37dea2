// One connection to the server for what the fixture says to it, opened at the first use.
//
// It speaks RESP3, so that maps arrive as objects. Its name is `toril`: faults never hit it, and a
// test can always end one. It keeps the process alive only while an answer is awaited.
'use strict';

const net = require('node:net');

class Connection {
  #host;
  #port;
  #socket = null;
  #received = Buffer.alloc(0);
  /** Whoever waits for an answer, in the order of the requests. */
  #waiting = [];

  constructor(host, port) {
    this.#host = host;
    this.#port = port;
  }

  /** Runs one command; an error of the server rejects with its text. */
  async run(words) {
    if (process.nextTick.clock) {
      throw new Error(
        'toril: process.nextTick is faked, so sockets stand still. ' +
          "Use fake timers with toFake: ['Date']",
      );
    }
    if (this.#socket === null) {
      this.#open();
      // Not awaited by itself: requests are answered in order, and its failure fails the next one.
      this.#send(['HELLO', '3', 'SETNAME', 'toril']).catch(() => {});
    }
    return this.#send(words);
  }

  close() {
    this.#socket?.destroy();
    this.#lose(new Error('toril: the server was stopped'));
  }

  #open() {
    const socket = net.connect({ host: this.#host, port: this.#port, noDelay: true });
    socket.on('data', (bytes) => this.#take(bytes));
    socket.on('error', (error) => this.#lose(error, socket));
    socket.on('close', () => this.#lose(new Error('toril: the server closed the connection'), socket));
    this.#socket = socket;
    this.#received = Buffer.alloc(0);
  }

  #send(words) {
    const parts = [`*${words.length}\r\n`];
    for (const word of words) {
      const text = String(word);
      parts.push(`$${Buffer.byteLength(text)}\r\n${text}\r\n`);
    }
    // Made here, so that its stack shows who asked, and not who read the answer.
    const failure = new Error();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject, failure });
      this.#socket.ref();
      this.#socket.write(parts.join(''));
    });
  }

  #take(bytes) {
    this.#received = Buffer.concat([this.#received, bytes]);
    while (this.#waiting.length > 0) {
      const parsed = parse(this.#received, 0);
      if (parsed === null) return;
      this.#received = this.#received.subarray(parsed.end);
      const { resolve, reject, failure } = this.#waiting.shift();
      if (parsed.value instanceof Error) reject(told(failure, parsed.value.message));
      else resolve(parsed.value);
    }
    this.#socket.unref();
  }

  /** The connection has gone: all who wait are told, and the next request opens another one. */
  #lose(error, socket = this.#socket) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    for (const { reject, failure } of this.#waiting.splice(0)) reject(told(failure, error.message));
  }
}

/** An error that was made before its text was known. */
function told(failure, text) {
  failure.message = text;
  failure.stack = failure.stack.replace(/^Error/, () => `Error: ${text}`);
  return failure;
}

/** How the elements of an aggregate become one value. */
const AGGREGATES = {
  '*': (values) => values,
  '~': (values) => values,
  '>': (values) => values,
  '%': (values) => {
    const object = {};
    for (let at = 0; at < values.length; at += 2) object[values[at]] = values[at + 1];
    return object;
  },
};

/** How the rest of a line becomes a value. */
const LINES = {
  '+': (text) => text,
  '-': (text) => new Error(text),
  ':': Number,
  ',': Number,
  '(': BigInt,
  '#': (text) => text === 't',
  _: () => null,
};

/** The reply that begins at `start`, and where it ends; null while it is not whole. */
function parse(bytes, start) {
  const lineEnd = bytes.indexOf('\r\n', start);
  if (lineEnd < 0) return null;
  const kind = String.fromCharCode(bytes[start]);
  const text = bytes.toString('utf8', start + 1, lineEnd);
  const end = lineEnd + 2;
  if (kind in LINES) return { value: LINES[kind](text), end };
  const length = Number(text);
  if (length < 0) return { value: null, end };
  if (kind in AGGREGATES) {
    return parseAggregate(bytes, end, kind, kind === '%' ? length * 2 : length);
  }
  // A text, an error or a verbatim text by its length.
  if (bytes.length < end + length + 2) return null;
  const value = bytes.toString('utf8', end, end + length);
  const values = { $: value, '!': new Error(value), '=': value.slice(4) };
  return { value: values[kind], end: end + length + 2 };
}

function parseAggregate(bytes, start, kind, count) {
  const values = [];
  let end = start;
  for (let index = 0; index < count; index += 1) {
    const parsed = parse(bytes, end);
    if (parsed === null) return null;
    values.push(parsed.value);
    end = parsed.end;
  }
  return { value: AGGREGATES[kind](values), end };
}

module.exports = { Connection, parse };
