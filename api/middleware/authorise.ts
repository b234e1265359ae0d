import { createMiddleware } from 'hono/factory';
import { DomainError } from '../../domain/errors.ts';
import { type Action, mayDo, rolesInWords } from '../../domain/permissions.ts';
import type { ApiEnv } from '../dependencies.ts';

/**
 * Lets a request through when its token is good and its role may do the action.
 * @throws DomainError UNAUTHENTICATED, FORBIDDEN
 */
export function authorise(action: Action) {
  return createMiddleware<ApiEnv>(async (c, next) => {
    const { authenticator } = c.get('dependencies');
    const { actor, sessionId } = await authenticator.identify(c.req.header('authorization'));
    if (!mayDo(actor.role, action)) {
      throw new DomainError(
        'FORBIDDEN',
        `A ${actor.role.replaceAll('_', ' ')} may not do this; it takes a ${rolesInWords(action)}.`,
        { facts: { action } },
      );
    }
    c.set('actor', actor);
    c.set('sessionId', sessionId);
    await next();
  });
}
