import { z } from '@hono/zod-openapi';
import { NewBarcode, Reference } from './automation.ts';
import { Id, Instant } from './problem.ts';
import { ExpiryDate, Lot, Quantity, Subject } from './quantity.ts';
import { Sample } from './storage.ts';

/** Lists of domain/sample-state.ts; the compiler compares them where requests and replies are made. */
const HoldReasonName = z.enum(['quality', 'investigation', 'legal', 'consent_withdrawn', 'other']);
const DisposalReasonName = z.enum([
  'consent_withdrawn',
  'contaminated',
  'damaged',
  'thawed',
  'expired',
  'used_up',
  'quality_insufficient',
  'wrongly_labelled',
  'study_ended',
  'other',
]);

const Comment = z.string().trim().min(1).max(500);
const Scanned = NewBarcode.optional().openapi({
  description: 'The tube’s barcode as read; left out, the record says that a person said so.',
});

/** Everything a person may change; what is left out is taken away. */
export const SampleEditRequest = z
  .strictObject({
    project: z.string().trim().min(1).max(100).optional(),
    subject: Subject.optional(),
    lot: Lot.optional(),
    expiresOn: ExpiryDate.optional(),
    quantity: Quantity.optional().openapi({ description: 'What is left by a new measurement.' }),
  })
  .openapi('SampleEditRequest');

export const AliquotsRequest = z
  .strictObject({
    aliquots: z
      .array(z.strictObject({ barcode: NewBarcode, quantity: Quantity.optional() }))
      .min(1)
      .max(384),
  })
  .openapi('AliquotsRequest');

export const ConsumeRequest = z
  .union([
    z.strictObject({ quantity: Quantity }),
    z.strictObject({ all: z.literal(true) }).openapi({ description: 'Nothing is left of it.' }),
  ])
  .openapi('ConsumeRequest');

export const RelabelRequest = z
  .strictObject({ barcode: NewBarcode, comment: Comment.optional() })
  .openapi('RelabelRequest');

export const CommentRequest = z.strictObject({ comment: Comment.optional() }).openapi('CommentRequest');

export const CheckOutRequest = z
  .strictObject({
    assigneeId: z.uuid().optional().openapi({ description: 'User id of who has it; left out: yourself.' }),
    dueAt: z.iso.datetime({ offset: true }).openapi({ description: 'When it is due back.' }),
    comment: Comment.optional(),
    sampleBarcode: Scanned,
  })
  .openapi('CheckOutRequest');
export const CheckInRequest = z.strictObject({ sampleBarcode: Scanned }).openapi('CheckInRequest');

export const HoldRequest = z
  .strictObject({ reason: HoldReasonName.exclude(['consent_withdrawn']), comment: Comment.optional() })
  .openapi('HoldRequest');

export const DisposeRequest = z
  .strictObject({
    reason: DisposalReasonName,
    comment: Comment.optional().openapi({ description: '`other` needs one.' }),
    secondPersonId: z
      .uuid()
      .optional()
      .openapi({
        description:
          'User id of the second person: somebody else who may dispose, and who has signed in themselves within the last ' +
          '12 hours and not signed out.',
      }),
    sampleBarcode: Scanned,
  })
  .openapi('DisposeRequest');

export const CheckOutQuery = z.strictObject({
  overdue: z.enum(['true', 'false']).optional(),
  assignee: z.uuid().optional().openapi({ description: 'User id.' }),
  limit: z.coerce.number().int().min(1).max(500).default(50),
  cursor: z.string().max(300).optional().openapi({ description: 'The nextCursor of the page before.' }),
});

export const WithdrawRequest = z
  .union([
    z.strictObject({ subject: Subject, comment: Comment.optional() }),
    z.strictObject({ sample: Reference, comment: Comment.optional() }).openapi({
      description: 'This sample and everything taken from it.',
    }),
  ])
  .openapi('WithdrawRequest');

// ── replies ──────────────────────────────────────────────────────────────────────────────────────────
export const SampleList = z.object({ samples: z.array(Sample) }).openapi('SampleList');

export const CheckOutPage = z
  .object({
    checkOuts: z.array(
      z.object({
        id: Id,
        sampleId: Id,
        barcode: z.string(),
        assigneeId: Id,
        assigneeName: z.string(),
        dueAt: Instant,
        isOverdue: z.boolean(),
        comment: z.string().optional(),
        positionId: Id.optional().openapi({ description: 'The position that waits for it.' }),
        checkedOutAt: Instant,
      }),
    ),
    nextCursor: z.string().optional(),
  })
  .openapi('CheckOutPage');

export const Withdrawal = z
  .object({
    id: Id,
    subject: z.string().optional(),
    sampleId: Id.optional(),
    comment: z.string().optional(),
    withdrawnAt: Instant,
    withdrawnBy: Id,
    left: z.int().openapi({ description: 'How many samples are not destroyed yet.' }),
    certificate: z
      .object({
        at: Instant,
        sha256: z.string().openapi({ description: 'Of its bytes, in hex; in the ledger too.' }),
      })
      .optional(),
    samples: z.array(Sample).openapi({ description: 'All that are or were held for it, place by place.' }),
  })
  .openapi('Withdrawal');
export type Withdrawal = z.infer<typeof Withdrawal>;

export const WithdrawalPage = z
  .object({
    withdrawals: z.array(z.object({ id: Id, withdrawnAt: Instant, isCertified: z.boolean() })),
    nextCursor: z.string().optional(),
  })
  .openapi('WithdrawalPage');

export const Certificate = z
  .object({
    format: z.literal('tracseq-destruction-certificate/v1'),
    laboratory: Id,
    withdrawal_id: Id,
    withdrawn_at: Instant,
    withdrawn_by: Id,
    issued_at: Instant,
    issued_by: Id,
    samples: z.array(
      z.object({
        sample_id: Id,
        type: z.string(),
        state: z.string(),
        reason: z.string().optional(),
        disposed_at: Instant.optional(),
        disposed_by: Id.optional(),
        second_person: Id.optional(),
        entry: z.int().openapi({ description: 'The last entry about it in the ledger.' }),
        event_id: Id,
        leaf_sha256: z.string().openapi({ description: 'Leaf hash of that entry, in hex.' }),
      }),
    ),
  })
  .openapi('DestructionCertificate');
