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

/** The settings of {@link Gate.produce}. */
export interface ProduceOptions extends WriteOptions {
  /**
   * Makes a repeat harmless: Kafka counts the records of a producer in each partition, and recognizes those that it has. All
   * records must be of one partition, and are written all or none.
   */
  producer?: Producer;
}

/** A writer whose records Kafka counts: {@link ProduceOptions}. */
export interface Producer {
  /**
   * At most 256 characters. On routes with an identity it is the user's own. On others, whoever knows it can write as this
   * producer: 16 random bytes, as text, are enough.
   */
  id: string;
  /** At most 32,767. A later epoch begins at sequence 0, and ends earlier ones. */
  epoch: number;
  /** The number of records that the producer has written to the partition in this epoch: that of the first record. */
  sequence: number;
  /** Milliseconds since the first record was first sent; 0 for the first time. */
  age: number;
}
