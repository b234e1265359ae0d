/**
 * Temperature zones and their ranges in °C. RT, 4, −20 and −80 are the MIABIS SAMPLE-03 classes RT, 2–10, −18…−35 and
 * −60…−85; 37 is its "Other"; LN2 is vapour or liquid, below −135.
 */
export const ZONES = {
  LN2: { minC: -196, maxC: -135 },
  '-80': { minC: -85, maxC: -60 },
  '-20': { minC: -35, maxC: -18 },
  '4': { minC: 2, maxC: 10 },
  RT: { minC: 15, maxC: 25 },
  '37': { minC: 36, maxC: 38 },
} as const;

export type Zone = keyof typeof ZONES;
export const ZONE_NAMES = Object.keys(ZONES) as Zone[];
