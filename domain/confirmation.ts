import type { Actor } from './actor.ts';

/** A person's scan that completes a step by hand. Values are checked against the database, not here. */
export interface Confirmation {
  /** who scanned: may differ from who asked for the job */
  readonly actor: Actor;
  /** the tube's barcode as read; null when the label cannot be read */
  readonly sampleBarcode: string | null;
  /** barcode of the container the tube was put into or taken from */
  readonly containerBarcode: string;
  /** position label as scanned or entered, e.g. `C5` */
  readonly position: string;
  /**
   * the second person, needed when the label cannot be read: somebody else who may confirm and has a session of their
   * own, opened within the last 12 hours and not closed
   */
  readonly secondPersonId: string | null;
}
