// The place where `sluicegate/tables` adds tables to the client: pages without tables do not load them.

import type { Connections } from "../connections.ts";
import type { StreamTableOptions, TableOptions } from "./options.ts";
import type { Table } from "./table.ts";

/** @internal */
export interface Tables {
  open(connections: Connections, source: string | StreamTableOptions, options?: TableOptions): Table<any, any>;
  clear(): Promise<void>;
}

let added: Tables | undefined;

/** @internal */
export function addTables(tables: Tables): void {
  added = tables;
}

/** @internal */
export function tables(): Tables {
  if (!added) throw new TypeError('tables are missing: expected import { connect } from "sluicegate/tables"');
  return added;
}
