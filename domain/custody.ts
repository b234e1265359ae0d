/** Where a sample is: exactly one of these at any time (invariant 1). */
export type Custody =
  | { readonly kind: 'position'; readonly positionId: string }
  | { readonly kind: 'handoff'; readonly positionId: string }
  | { readonly kind: 'carrier'; readonly robotId: string }
  | { readonly kind: 'person'; readonly userId: string }
  | { readonly kind: 'transit' }
  | { readonly kind: 'disposed' }
  | { readonly kind: 'unknown'; readonly candidates: readonly CustodyCandidate[] };

export type CustodyKind = Custody['kind'];

/** A place a tube may be when nobody knows. */
export type CustodyCandidate =
  | { readonly kind: 'position' | 'handoff'; readonly positionId: string }
  | { readonly kind: 'carrier'; readonly robotId: string }
  | { readonly kind: 'person'; readonly userId: string }
  | { readonly kind: 'floor' };

/** What saw it there. `asserted` means nothing did: an import or a claim. */
export type Witness = 'sensor' | 'barcode' | 'person' | 'two_persons' | 'asserted';

/** The string a ledger leaf carries for a custody, e.g. `position:0190…`. */
export function custodyLabel(custody: Custody): string {
  switch (custody.kind) {
    case 'position':
    case 'handoff':
      return `${custody.kind}:${custody.positionId}`;
    case 'carrier':
      return `carrier:${custody.robotId}`;
    case 'person':
      return `person:${custody.userId}`;
    case 'transit':
    case 'disposed':
    case 'unknown':
      return custody.kind;
  }
}
