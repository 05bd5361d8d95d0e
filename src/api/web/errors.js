// Refusals in plain words.

const TEXTS = {
  RATE_LIMIT_EXCEEDED: 'That was a bit fast. Please wait a moment.',
  OVERLOADED: 'The server is busy. Please try again in a moment.',
  STORE_UNAVAILABLE: 'The server cannot reach its database right now.',
  DRAINING: 'The server is restarting.',
  INTERNAL: 'Something went wrong on the server.',
  NETWORK: 'The server cannot be reached. Are you online?',
  OFFLINE: 'There is no connection at the moment.',
  TIMEOUT: 'The server did not answer in time.',
  DISCONNECTED: 'The connection was lost.',
  STOPPED: 'There is no connection at the moment.',
  INVALID_CREDENTIALS: 'Username and password do not match.',
  NOT_A_MEMBER: 'You are not in this room any more.',
  PERMISSION_DENIED: 'You are not allowed to do that.',
  SANCTIONED: 'You may not do that here at the moment: a moderator has muted or banned you.',
  CONVERSATION_BLOCKED: 'This person does not take messages from you.',
  ROOM_NOT_FOUND: 'This room does not exist, or you may not see it.',
  MESSAGE_NOT_FOUND: 'This message does not exist any more.',
  ROOM_FULL: 'This room is full.',
  ROOM_ARCHIVED: 'This room is archived: it can be read, not written.',
  USER_NOT_FOUND: 'There is no such user.',
  NOT_FOUND: 'That does not exist any more.',
  MESSAGE_TOO_LONG: 'This message is too long.',
  CONTENT_REJECTED: 'This message was not accepted.',
  UNKNOWN_TYPE: 'This server does not know how to do that.',
};

const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** Which texts of the server say more than the code does. */
const SPECIFIC = new Set(['CONFLICT', 'INVALID_REQUEST', 'PERMISSION_DENIED']);

export function explain({ code, message, field, retry_after_ms: wait }) {
  if (code === 'RATE_LIMIT_EXCEEDED' && wait > 2_000) return `Please wait ${Math.ceil(wait / 1000)} seconds.`;
  if (SPECIFIC.has(code) && message && message !== code) {
    return field ? `${capital(field.replaceAll('_', ' '))}: ${message}` : capital(message);
  }
  return TEXTS[code] ?? capital(message || 'Something went wrong');
}
