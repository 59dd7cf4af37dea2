declare module 'vitest' {
  interface ProvidedContext {
    torilUrl: string;
  }
}

export default function setup(project: {
  provide(key: 'torilUrl', value: string): void;
}): Promise<() => Promise<void>>;
