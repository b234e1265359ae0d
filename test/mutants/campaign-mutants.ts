import type { Edit } from './breaking.ts';

/** One protection taken out of the whole laboratory, which a campaign must notice. */
export interface CampaignMutant {
  readonly name: string;
  /** all that is changed: several protections overlap, and one alone is not missed where another stands behind it */
  readonly edits: readonly Edit[];
}

export const CAMPAIGN_MUTANTS: readonly CampaignMutant[] = [
  {
    name: 'SENT is committed after the trigger',
    edits: [
      {
        file: 'devices/robot-gateway.ts',
        from: '    const right = await this.#journal.markSent(number, this.#epoch, view.latchedNumber);',
        to: "    const sentAt = performance.now();\n    const answer = isTaken ? 'taken' : await this.#wire.trigger();\n    const right = await this.#journal.markSent(number, this.#epoch, view.latchedNumber);",
      },
      // With it goes the look in between: it would find the motion begun.
      {
        file: 'devices/robot-gateway.ts',
        from: '    if (!isTaken) view = await this.#wire.observe(); // no answer: the next round finds that nothing was triggered\n    if (view.latchedNumber === number) return this.#settleAsTaken(motion, view);\n',
        to: '',
      },
      {
        file: 'devices/robot-gateway.ts',
        from: '    const sentAt = performance.now();\n    const answer = await this.#wire.trigger();\n',
        to: '',
      },
    ],
  },
  {
    // The turn is asked for twice: when the journal accepts a command, and when the gateway marks it SENT.
    name: 'the fence is not checked',
    edits: [
      {
        file: 'db/motion.ts',
        from: 'if (turn?.job_id !== jobId || Number(turn.fence) !== request.fence) {',
        to: 'if (!turn) {',
      },
      {
        file: 'db/motion.ts',
        from: '          AND turn.fence = m.fence AND turn.job_id = m.job_id\n          AND NOT EXISTS',
        to: '          AND NOT EXISTS',
      },
    ],
  },
  {
    name: 'the compensation is registered after its step',
    edits: [
      {
        file: 'workflows/transfer.ts',
        from: "  process.saga.before('put the tube back', (round) => putBack(process, turn, route, round));\n  try {\n    return await new Transfer(process, turn, route, before).run();\n",
        to: "  try {\n    const arrival = await new Transfer(process, turn, route, before).run();\n    process.saga.before('put the tube back', (round) => putBack(process, turn, route, round));\n    return arrival;\n",
      },
    ],
  },
  {
    // A position is a row, and whoever takes it changes that row where it is free. Behind that stand the unique key of a
    // sample's position, the two keys by which sample and position name each other, and the check of the row's state.
    name: 'a position may be taken twice',
    edits: [
      {
        file: 'db/migrations/0003_storage.sql',
        from: 'CREATE UNIQUE INDEX sample_position ON sample',
        to: 'CREATE INDEX sample_position ON sample',
      },
      {
        file: 'db/migrations/0003_storage.sql',
        from: 'REFERENCES position (tenant_id, id, sample_id) DEFERRABLE INITIALLY DEFERRED;',
        to: 'REFERENCES position (tenant_id, id, sample_id) NOT ENFORCED;',
      },
      {
        file: 'db/migrations/0003_storage.sql',
        from: 'REFERENCES sample (tenant_id, position_id, id) DEFERRABLE INITIALLY DEFERRED;',
        to: 'REFERENCES sample (tenant_id, position_id, id) NOT ENFORCED;',
      },
      {
        file: 'db/migrations/0003_storage.sql',
        from: "  CHECK ((state = 'occupied') = (sample_id IS NOT NULL)),\n",
        to: '',
      },
      {
        file: 'db/taking.ts',
        from: 'WHERE tenant_id = ${tenantId} AND id = ${id} AND ${MAY_BE_TAKEN}\n',
        to: 'WHERE tenant_id = ${tenantId} AND id = ${id}\n',
      },
    ],
  },
  {
    // Workflow and record ask the same function; nothing stands behind it.
    name: 'an answer to another question is taken',
    edits: [
      {
        file: 'domain/fault.ts',
        from: 'if (given.faultId !== fault.faultId) {',
        to: "if (given.faultId === '') {",
      },
    ],
  },
  {
    // The expiry is taken off when a robot's job reserves or its tube is scanned, and once more when the journal accepts a
    // motion; the campaign's leases are shorter than a motion.
    name: 'a lease goes on running while the robot moves',
    edits: [
      {
        file: 'db/places.ts',
        from: 'AND job_id = ${jobId} AND lease_expires_at IS NOT NULL`.execute(tx);',
        to: 'AND job_id = ${jobId} AND lease_expires_at IS NOT NULL AND false`.execute(tx);',
      },
      {
        file: 'db/motion.ts',
        from: '    .set({ lease_expires_at: null })\n',
        to: '    .set({ lease_expires_at: sql`lease_expires_at` })\n',
      },
    ],
  },
];
