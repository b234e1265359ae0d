import type { JsonValue } from './canonical.ts';

/**
 * What may happen to a record: CloudEvent type of the outbox event and `type` of the ledger leaf. Consumers outside go by
 * these names: add, never rename.
 */
export const EVENT_TYPES = [
  'identity.tenant.created',
  'identity.user.created',
  'identity.station.enrolled',
  'identity.session.opened',
  'identity.session.closed',
  'storage.location_type.created',
  'storage.location_type.changed',
  'storage.location.created',
  'storage.location.changed',
  'storage.location.retired',
  'storage.location.position_blocked',
  'storage.location.position_unblocked',
  'storage.location.positions_blocked', // several of one container
  'storage.sample.registered',
  'storage.sample.placed', // custody: a position
  'storage.sample.picked', // custody: a robot's carrier
  'storage.sample.at_handoff', // custody: a hand-off position
  'storage.sample.taken', // custody: a person
  'storage.sample.custody_unknown', // custody: unknown, with candidates
  'storage.sample.unverified', // the record stands, its witness does not: nothing has seen the tube since
  'storage.sample.verified', // a person scanned it where it is
  'storage.sample.found', // custody known again, by an operator's answer
  'storage.sample.doubted', // custody only asserted: a store's own inventory says otherwise
  'storage.reservation.created', // positions are set aside for a project
  'storage.reservation.released',
  'storage.sample.edited',
  'storage.sample.aliquoted', // of the parent; the aliquots are registered
  'storage.sample.consumed', // a part of it, or all
  'storage.sample.thawed',
  'storage.sample.relabelled',
  'storage.sample.checked_out',
  'storage.sample.checked_in',
  'storage.sample.held',
  'storage.sample.released',
  'storage.sample.disposed',
  'storage.sample.lost',
  'storage.sample.archived',
  'storage.sample.reopened',
  'storage.sample.moved', // by a person's word, many at once
  'storage.sample.corrected', // the record is put right; no tube was moved
  'storage.import_profile.changed',
  'storage.consent.withdrawn',
  'storage.consent.certified',
  'storage.exposure_budget.changed',
  'storage.barcode_scheme.changed',
  'storage.scanner_profile.changed',
  'storage.rack_scanner.enrolled',
  'storage.rack_scanner.retired',
  'storage.rack_scan.asked', // a scanner is to read a rack
  'storage.rack_scan.read',
  'storage.rack_scan.failed', // the scanner gave no scan
  'storage.rack_scan.superseded', // the rack was scanned again
  'storage.rack_scan.applied',
  'automation.robot.registered',
  'automation.robot.paused',
  'automation.robot.resumed',
  'automation.robot.in_maintenance',
  'automation.robot.fault_cleared',
  'automation.picklist.ordered',
  'automation.picklist.cancel_requested',
  'automation.picklist.finished',
  'automation.schedule.created',
  'automation.schedule.changed', // by a person, or because the job it waits for is over
  'automation.schedule.cancelled',
  'automation.schedule.ran', // its job is written, or could not be
  'automation.schedule.missed', // nothing was started: too late, or the job before ended otherwise than asked
  'alarm.raised',
  'alarm.escalated',
  'alarm.cleared',
  'deviation.opened',
  'deviation.closed',
] as const;

export type EventType = (typeof EVENT_TYPES)[number];

/** Kinds of record that have versions and ledger entries of their own. */
export const AGGREGATES = [
  'tenant',
  'user',
  'station',
  'session',
  'location_type',
  'location',
  'robot',
  'sample',
  'alarm',
  'deviation',
  'exposure_budget',
  'picklist',
  'schedule',
  'reservation',
  'scanner_profile',
  'rack_scanner',
  'rack_scan',
  'barcode_scheme',
  'consent_withdrawal',
  'import_profile',
] as const;

export type Aggregate = (typeof AGGREGATES)[number];

/** Name of the stream the events belong to. */
const EVENT_STREAM = 'storage.events';

/** An event as it is stored, with its number in the tenant's stream: 1, 2, 3 … without gaps. */
export interface StoredEvent {
  readonly tenantId: string;
  readonly id: string;
  readonly position: number;
  readonly type: string;
  /** `<aggregate>/<id>` */
  readonly subject: string;
  readonly time: Date;
  readonly data: JsonValue;
}

/**
 * An event in the structured mode of CloudEvents 1.0, with two extension attributes: `stream` names the stream,
 * `position` is the decimal number in it, a string because a CloudEvents integer has 32 bits.
 */
export function cloudEvent(event: StoredEvent): Readonly<Record<string, JsonValue>> {
  return {
    specversion: '1.0',
    id: event.id,
    source: `/tracseq/${event.tenantId}`,
    type: event.type,
    subject: event.subject,
    time: event.time.toISOString(),
    datacontenttype: 'application/json',
    stream: EVENT_STREAM,
    position: String(event.position),
    data: event.data,
  };
}

/** MQTT topic of an event: `tracseq/<tenant>/events/<type>`. */
export function eventTopic(event: Pick<StoredEvent, 'tenantId' | 'type'>): string {
  return `tracseq/${event.tenantId}/events/${event.type}`;
}
