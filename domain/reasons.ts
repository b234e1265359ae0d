/**
 * Why something was changed: what a ledger leaf says in `reason`. Part of the leaf format (docs/formats/leaf-v1.md):
 * codes are added at the end, never renamed, never given another meaning.
 */
export const REASONS = [
  'setup', // a laboratory, a user, a station, a location or a robot is entered
  'sign_in',
  'sign_out',
  'token_reused', // a refresh token was presented twice: the session is closed
  'revoked', // somebody with the right closed a session, disabled a user or retired a station
  'registered', // a sample is entered
  'placement', // a tube goes into the store
  'retrieval', // a tube leaves the store
  'move', // a tube goes from one position to another
  'hand_over', // a person takes a tube from the hand-off, or sets it there
  'putting_back', // a step is undone: the tube goes back to where it was
  'fault', // nobody knows where a tube is, or a robot failed
  'decision', // an operator answered the question of a fault
  'alarm', // an alarm was raised or cleared by the system
  'acknowledgement', // a person took note of an alarm
  'edit', // a person changed a record's description
  'correction', // a person corrected a record that was wrong
  'retirement', // a location, robot or barcode goes out of use
  'blocking', // a position may not be used, or may again
  'dispatch', // a person paused a robot, took it for maintenance, or let it work again
  'clearance', // a person declared a robot fit after a fault
  'reconciliation', // after a motion without result the sensors said where the tube is
  'escalation', // nobody answered in time
  'deviation', // what is and what should be differ, or a person has settled that
  'inventory', // a store's own inventory was compared
  'schedule', // work was planned for later, changed or called off
  'restore', // the laboratory was restored from a backup
  'configuration', // a person changed a limit or a setting
  'use', // a part of a sample was used, or a tube was checked out for it
  'hold', // a sample may not be used, or may again
  'disposal', // a tube was destroyed
  'archiving', // a record was closed, or reopened
  'search', // a tube was given up as lost
  'consent', // a consent was withdrawn
  'import', // from a file: asserted until something sees it
  'undo', // an operation on many was taken back
] as const;

export type ReasonCode = (typeof REASONS)[number];
