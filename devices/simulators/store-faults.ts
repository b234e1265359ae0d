/** Faults that are switched on from outside; all but the stuck sensor strike once. */
export type Fault =
  /**
   * The next motion of this kind ends with error 5. For a pick the tube is then still at its source, in the carrier, or
   * on the floor; for a place in the carrier, at the target, or on the floor.
   */
  | {
      readonly kind: 'motion_fault';
      readonly operation: 'pick' | 'place';
      readonly tube: 'source' | 'carrier' | 'target' | 'floor';
    }
  /** The next motion of this kind loses the tube on its way and reports success all the same. */
  | { readonly kind: 'drop'; readonly operation: 'pick' | 'place' }
  /** The next transfer of a worklist store moves nothing; the store books it as done and says so. */
  | { readonly kind: 'false_done' }
  /**
   * The next motion never ends: busy until the faults are cleared; before or after the tube changed its place. During: of
   * a transfer, with the tube in the carrier.
   */
  | { readonly kind: 'freeze'; readonly when: 'before' | 'during' | 'after' }
  /** The next scan reads nothing, or something else. */
  | { readonly kind: 'barcode_unreadable' }
  | { readonly kind: 'barcode_other'; readonly barcode: string }
  | {
      readonly kind: 'sensor_stuck';
      readonly sensor: 'carrier' | 'source' | 'target';
      readonly value: boolean;
    }
  /** The connection ends at the next trigger, before or after the controller has seen it. */
  | { readonly kind: 'cut_at_trigger'; readonly when: 'before' | 'after' }
  /** The next trigger gets no reply: it never reaches the controller, or its reply is lost; the connection stays. */
  | { readonly kind: 'no_reply_to_trigger'; readonly when: 'before' | 'after' }
  /**
   * The reply to the next trigger, or the next request of any kind, is another request's: by its transaction id where the
   * protocol has one; otherwise the line of the reply before comes first.
   */
  | { readonly kind: 'wrong_transaction'; readonly to: 'trigger' | 'any' }
  /** The reply to the next trigger, or the next request of any kind, comes late. */
  | { readonly kind: 'late_reply'; readonly to: 'trigger' | 'any'; readonly ms: number }
  /** The next trigger reaches the controller late, even when the connection is gone by then. */
  | { readonly kind: 'late_trigger'; readonly ms: number }
  /** The controller loses power in the next motion: before or after the tube changed its place; during: as for freeze. */
  | { readonly kind: 'power_cycle'; readonly when: 'before' | 'during' | 'after'; readonly offMs: number };

const FIELDS: Record<Fault['kind'], Record<string, readonly string[] | 'text' | 'ms' | 'flag'>> = {
  motion_fault: { operation: ['pick', 'place'], tube: ['source', 'carrier', 'target', 'floor'] },
  drop: { operation: ['pick', 'place'] },
  false_done: {},
  freeze: { when: ['before', 'during', 'after'] },
  barcode_unreadable: {},
  barcode_other: { barcode: 'text' },
  sensor_stuck: { sensor: ['carrier', 'source', 'target'], value: 'flag' },
  cut_at_trigger: { when: ['before', 'after'] },
  no_reply_to_trigger: { when: ['before', 'after'] },
  wrong_transaction: { to: ['trigger', 'any'] },
  late_reply: { to: ['trigger', 'any'], ms: 'ms' },
  late_trigger: { ms: 'ms' },
  power_cycle: { when: ['before', 'during', 'after'], offMs: 'ms' },
};

/** True for a well-formed fault; anything else is refused by the side channel. */
export function isFault(value: unknown): value is Fault {
  if (value === null || typeof value !== 'object' || !('kind' in value)) return false;
  const given = new Map<string, unknown>(Object.entries(value));
  const fields = Object.entries(FIELDS).find(([kind]) => kind === given.get('kind'))?.[1];
  if (!fields || given.size !== Object.keys(fields).length + 1) return false;
  return Object.entries(fields).every(([name, rule]) => {
    const found = given.get(name);
    if (rule === 'text') return typeof found === 'string' && /^[\x20-\x7e]{1,64}$/.test(found);
    if (rule === 'ms')
      return typeof found === 'number' && Number.isFinite(found) && found >= 0 && found <= 600_000;
    if (rule === 'flag') return typeof found === 'boolean';
    return rule.some((choice) => choice === found);
  });
}

/** What happens to one request on its way. */
export interface Disturbance {
  /** ms before the device gets to see the request, even when the connection is gone by then */
  readonly delayRequestMs?: number;
  /** ms before the reply leaves */
  readonly delayReplyMs?: number;
  /** end the connection instead of handing the request on, or instead of replying */
  readonly cut?: 'before' | 'after';
  /** do nothing instead of handing the request on, or instead of replying */
  readonly silent?: 'before' | 'after';
  /** the reply looks like that to another request */
  readonly wrongTransaction?: boolean;
}

/** The faults that wait to strike. */
export class Faults {
  #waiting: Fault[] = [];

  add(fault: Fault): void {
    this.#waiting.push(fault);
  }

  clear(): void {
    this.#waiting = [];
  }

  list(): readonly Fault[] {
    return this.#waiting;
  }

  /** The first waiting fault of a kind that fits; it strikes now and is gone. */
  strike<K extends Fault['kind']>(
    kind: K,
    fits: (fault: Extract<Fault, { kind: K }>) => boolean = () => true,
  ): Extract<Fault, { kind: K }> | undefined {
    const isIt = (fault: Fault): fault is Extract<Fault, { kind: K }> => fault.kind === kind;
    const found = this.#waiting.filter(isIt).find(fits);
    if (found) this.#waiting = this.#waiting.filter((fault) => fault !== found);
    return found;
  }

  /** What the waiting faults do to a request on its way. */
  disturb(isTrigger: boolean): Disturbance {
    const late = this.strike('late_reply', ({ to }) => to === 'any' || isTrigger);
    const other = this.strike('wrong_transaction', ({ to }) => to === 'any' || isTrigger);
    const onAny = { ...(late && { delayReplyMs: late.ms }), ...(other && { wrongTransaction: true }) };
    if (!isTrigger) return onAny;
    const cut = this.strike('cut_at_trigger');
    const silent = this.strike('no_reply_to_trigger');
    const lateTrigger = this.strike('late_trigger');
    return {
      ...onAny,
      ...(cut && { cut: cut.when }),
      ...(silent && { silent: silent.when }),
      ...(lateTrigger && { delayRequestMs: lateTrigger.ms }),
    };
  }

  /** What a stuck sensor says; undefined when it works. */
  stuckAt(sensor: 'carrier' | 'source' | 'target'): boolean | undefined {
    const stuck = this.#waiting.find((fault) => fault.kind === 'sensor_stuck' && fault.sensor === sensor);
    return stuck?.kind === 'sensor_stuck' ? stuck.value : undefined;
  }
}
