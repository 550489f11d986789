/** One thing to measure: a function, and how much work one call of it does. */
export interface MicroTask {
  readonly name: string;
  /** Records (or other units) and payload bytes per call. */
  readonly records: number;
  readonly bytes: number;
  readonly run: () => unknown;
}

/** Tasks that need something set up and taken down again. */
export interface MicroSuite {
  readonly tasks: readonly MicroTask[];
  close(): Promise<void>;
}
