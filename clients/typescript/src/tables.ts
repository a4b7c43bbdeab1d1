// The client with tables. They are an entry of their own, because pages without tables need not load them.

export * from "./index.ts";

import { name, reject } from "./check.ts";
import { clear } from "./table/database.ts";
import { checkStreamTable, checkTable } from "./table/options.ts";
import { addTables } from "./table/registry.ts";
import { StreamSource } from "./table/stream.ts";
import { Table } from "./table/table.ts";
import { TopicSource } from "./table/topic.ts";

addTables({
  open(connections, source, options) {
    connections.signal.throwIfAborted();
    if (typeof source === "string") {
      const settings = options ?? {};
      name(source, "table: topic");
      checkTable(settings, "table: options");
      return new Table(connections, new TopicSource(source, settings), settings);
    }
    if (!source?.stream) reject("table", source, "a topic's name, or an object with stream");
    if (options !== undefined) reject("table: options", options, "none beside an object with stream");
    checkStreamTable(source, "table: options");
    return new Table(connections, new StreamSource(source), source);
  },
  clear,
});
