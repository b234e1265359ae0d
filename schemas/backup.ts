import { z } from 'zod';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** below the backup's folder, and never above it */
const path = z.string().regex(/^(?!\/)(?!.*(?:^|\/)\.\.(?:\/|$)).+$/);

/** What a backup says of itself: `manifest.json` in its folder. */
export const BackupManifest = z.strictObject({
  format: z.literal('tracseq-backup/1'),
  /** version of TracSeq that made it */
  product: z.string(),
  /** name of the last migration applied */
  schema: z.string(),
  /** the restored database knows everything committed before this, by the database's clock */
  takenAt: z.iso.datetime(),
  /** where the copy begins and ends in the write-ahead log */
  wal: z.strictObject({ from: z.string(), to: z.string() }),
  tenants: z.array(
    z.strictObject({
      id: z.uuid(),
      /** of the ledger, shortly before the end of the copy: the restored one begins with exactly this */
      ledger: z.strictObject({ size: z.int().min(0), root: sha256 }),
      samples: z.int().min(0),
      openJobs: z.int().min(0),
      robots: z.int().min(0),
    }),
  ),
  /** folders below the backup's, outer ones first: PostgreSQL wants its empty ones too */
  folders: z.array(path),
  files: z.array(
    z.strictObject({
      path,
      bytes: z.int().min(0),
      sha256,
    }),
  ),
});
export type BackupManifest = z.infer<typeof BackupManifest>;
