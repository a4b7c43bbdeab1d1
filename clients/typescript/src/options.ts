// Settings of commands.

/** The settings of a command. */
export interface CommandOptions {
  /** Rejects the command with the signal's reason when aborted. An aborted write may still happen. */
  signal?: AbortSignal;
}

/** The settings of {@link Gate.produce} and {@link Gate.publish}. */
export interface WriteOptions extends CommandOptions {
  /**
   * Limit of the wait for a connection and for the answer, in milliseconds. By default 40,000: longer than Kafka's
   * writer in the bridge tries, which knows more about the outcome.
   */
  timeout?: number;
}
