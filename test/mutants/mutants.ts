/** One rule, broken. */
export interface Mutant {
  /** number of the invariant in the design */
  readonly invariant: 1 | 2 | 3 | 4 | 5 | 6 | 7;
  /** what is broken */
  readonly name: string;
  readonly file: string;
  /** text that the file holds exactly once, and what it becomes */
  readonly from: string;
  readonly to: string;
  /** test files that must turn red */
  readonly tests: readonly string[];
}

export const MUTANTS: readonly Mutant[] = [
  {
    invariant: 1,
    name: 'a tube that moves stays recorded in the position it left',
    file: 'db/custody.ts',
    from: "UPDATE position SET state = 'reserved', sample_id = NULL, job_id = ${jobId}, lease_expires_at = NULL",
    to: 'UPDATE position SET job_id = ${jobId}',
    tests: ['test/activities/custody.test.ts'],
  },
  {
    invariant: 1,
    name: 'the database does not hold sample and position together',
    file: 'db/migrations/0003_storage.sql',
    from: 'REFERENCES position (tenant_id, id, sample_id) DEFERRABLE INITIALLY DEFERRED;',
    to: 'REFERENCES position (tenant_id, id, sample_id) NOT ENFORCED;',
    tests: ['test/activities/storage-invariants.test.ts'],
  },
  {
    invariant: 1,
    name: 'the database does not hold position and sample together',
    file: 'db/migrations/0003_storage.sql',
    from: 'REFERENCES sample (tenant_id, position_id, id) DEFERRABLE INITIALLY DEFERRED;',
    to: 'REFERENCES sample (tenant_id, position_id, id) NOT ENFORCED;',
    tests: ['test/activities/storage-invariants.test.ts'],
  },
  {
    invariant: 1,
    name: 'custody moves to the target although the sensors saw the tube still in the carrier',
    file: 'domain/motion.ts',
    from: "return 'still_held';",
    to: "return 'placed';",
    tests: ['test/unit/motion.test.ts', 'test/workflows/branches.test.ts'],
  },
  {
    invariant: 2,
    name: 'two samples may be recorded in one position',
    file: 'db/migrations/0003_storage.sql',
    from: 'CREATE UNIQUE INDEX sample_position ON sample',
    to: 'CREATE INDEX sample_position ON sample',
    tests: ['test/activities/storage-invariants.test.ts'],
  },
  {
    invariant: 2,
    name: 'a second job may take a sample that a live job has',
    file: 'db/custody.ts',
    from: 'AND id = ${sampleId} AND job_id IS NULL\n',
    to: 'AND id = ${sampleId}\n',
    tests: ['test/activities/custody.test.ts'],
  },
  {
    invariant: 3,
    name: 'a changed row needs no ledger entry',
    file: 'db/migrations/0001_tenancy_and_ledger.sql',
    from: "RAISE EXCEPTION '% of %.% has no ledger entry: changes go through withChange', TG_OP, TG_TABLE_NAME, agg\n      USING ERRCODE = 'integrity_constraint_violation';",
    to: 'NULL;',
    tests: ['test/activities/db-ledgered.test.ts'],
  },
  {
    invariant: 3,
    name: 'the entry is not appended',
    file: 'db/change.ts',
    from: 'values: [entries.map(({ leaf }) => leaf)],',
    to: 'values: [[]],',
    tests: ['test/activities/db-change.test.ts'],
  },
  {
    invariant: 4,
    name: 'samples are not under forced row-level security',
    file: 'db/migrations/0003_storage.sql',
    from: "EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);",
    to: 'NULL;',
    tests: ['test/activities/db-catalogue.test.ts'],
  },
  {
    invariant: 4,
    name: 'a tenant sees every event',
    file: 'db/migrations/0001_tenancy_and_ledger.sql',
    from: 'CREATE POLICY relay_crosses ON event TO tracseq_relay USING',
    to: 'CREATE POLICY relay_crosses ON event USING',
    tests: ['test/activities/db-catalogue.test.ts', 'test/activities/db-tenancy.test.ts'],
  },
  {
    invariant: 5,
    name: 'a gateway sends a command whose turn is over',
    file: 'db/motion.ts',
    from: '          AND turn.fence = m.fence AND turn.job_id = m.job_id\n        RETURNING 1',
    to: '        RETURNING 1',
    tests: ['test/activities/gateway-journal.test.ts'],
  },
  {
    invariant: 5,
    name: 'a motion is accepted without the turn',
    file: 'db/motion.ts',
    from: 'if (turn?.job_id !== jobId || Number(turn.fence) !== request.fence) {',
    to: 'if (!turn) {',
    tests: ['test/activities/gateway-journal.test.ts'],
  },
  {
    invariant: 5,
    name: 'a robot that is held or rests is given a turn',
    file: 'db/turns.ts',
    from: 'if (standing && !mayBegin(standing)) return',
    to: 'if (standing && false) return',
    tests: ['test/activities/robot-commands.test.ts'],
  },
  {
    invariant: 5,
    name: 'the trigger goes out before SENT is committed',
    file: 'devices/robot-gateway.ts',
    from: '    const right = await this.#journal.markSent(number, this.#epoch, view.latchedNumber);',
    to: '    await this.#wire.trigger();\n    const right = await this.#journal.markSent(number, this.#epoch, view.latchedNumber);',
    tests: ['test/unit/robot-gateway.test.ts', 'test/faults/gateway-crash.test.ts'],
  },
  {
    invariant: 5,
    name: 'SENT slips past a gateway that takes the epoch at the same moment',
    file: 'db/motion.ts',
    from: 'FOR SHARE\n      ), sent AS (',
    to: '\n      ), sent AS (',
    tests: ['test/activities/gateway-journal.test.ts'],
  },
  {
    invariant: 5,
    name: 'a trigger whose fate is open goes out again',
    file: 'devices/robot-gateway.ts',
    from: 'if (!last.busy) await this.#wire.disarm(motion);',
    to: 'await this.#wire.arm(motion); await this.#wire.trigger();',
    tests: ['test/unit/robot-gateway.test.ts'],
  },
  {
    invariant: 5,
    name: 'one look says that a command was not taken',
    file: 'devices/robot-gateway.ts',
    from: 'if (looks === 2) {',
    to: 'if (looks === 1) {',
    tests: ['test/unit/robot-gateway.test.ts'],
  },
  {
    invariant: 5,
    name: 'a controller that keeps no number is believed',
    file: 'domain/controller.ts',
    from: 'latchedBefore > 0 && ',
    to: '',
    tests: ['test/unit/controller.test.ts'],
  },
  {
    invariant: 6,
    name: 'a lease goes on running after motion is accepted',
    file: 'db/motion.ts',
    from: '    .set({ lease_expires_at: null })\n',
    to: "    .set({ lease_expires_at: sql`now() + interval '1 second'` })\n",
    tests: ['test/activities/gateway-journal.test.ts'],
  },
  {
    invariant: 6,
    name: 'a position without expiry may be taken',
    file: 'db/taking.ts',
    from: 'lease_expires_at < now()',
    to: 'coalesce(lease_expires_at < now(), true)',
    tests: ['test/activities/placement.test.ts'],
  },
  {
    invariant: 7,
    name: 'undos run first-in first-out',
    file: 'workflows/saga.ts',
    from: 'for (let undo = this.#undos.at(-1); undo && this.#undos.length > depth; undo = this.#undos.at(-1)) {\n      said.push(await this.#run(undo.name, undo.run));\n      this.#undos.pop();',
    to: 'for (let undo = this.#undos.at(depth); undo && this.#undos.length > depth; undo = this.#undos.at(depth)) {\n      said.push(await this.#run(undo.name, undo.run));\n      this.#undos.splice(depth, 1);',
    tests: ['test/workflows/branches.test.ts'],
  },
  {
    invariant: 7,
    name: 'a failing undo is skipped',
    file: 'workflows/saga.ts',
    from: '        await this.#ask({ detail: `The undo "${name}" fails: ${reasonOf(error)}` });',
    to: "        return 'skipped';",
    tests: ['test/workflows/branches.test.ts'],
  },
];
