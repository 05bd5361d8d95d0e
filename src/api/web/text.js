// What users write: code, links and mentions are shown as such, everything else as it is.

import { make } from './dom.js';

const CODE = /(```[\s\S]+?```|`[^`\n]+`)/;
const LINK = /(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]}])/;
const MENTION = /(^|[^A-Za-z0-9_.@/-])@([A-Za-z0-9_.-]{2,32})/g;

const code = (part) =>
  part.startsWith('```')
    ? make('code', { class: 'code-block' }, part.slice(3, -3).replace(/^\n|\n$/g, ''))
    : make('code', {}, part.slice(1, -1));

const link = (part) => make('a', { href: part, target: '_blank', rel: 'noopener noreferrer nofollow' }, part);

/** The name without the dots and dashes that end a sentence, unless they belong to it. */
function resolve(name, { ids, mentions }) {
  for (let text = name; text; text = text.slice(0, -1)) {
    const id = text.toLowerCase() === 'room' ? 0 : ids.get(text.toLowerCase());
    if (id !== undefined && (id === 0 || mentions.includes(id))) return { text, id };
    if (!/[.-]$/.test(text)) break;
  }
  // Somebody whose present name this page has not met: the server has found a member by it.
  return mentions.length > 0 && !ids.has(name.toLowerCase()) ? { text: name, id: null } : null;
}

/** `context`: {ids (lower-case name -> user id), mentions (ids that the server has found), me}. */
function withMentions(part, context) {
  const out = [];
  let end = 0;
  for (const match of part.matchAll(MENTION)) {
    const found = resolve(match[2], context);
    if (!found) continue;
    const start = match.index + match[1].length;
    out.push(part.slice(end, start));
    const own = found.id === context.me || found.id === 0;
    const dataset = found.id ? { person: found.id } : {};
    out.push(make('span', { class: own ? 'mention own' : 'mention', dataset }, `@${found.text}`));
    end = start + 1 + found.text.length;
  }
  return [...out, part.slice(end)];
}

/** Nodes and strings for a message's content. */
export function richText(text, context) {
  const pieces = text.split(CODE);
  const isBlock = (piece) => piece?.startsWith('```');
  return pieces.flatMap((piece, index) => {
    if (index % 2) return [code(piece)];
    // A block stands on lines of its own anyway.
    const before = isBlock(pieces[index - 1]) ? piece.replace(/^\n/, '') : piece;
    const plain = isBlock(pieces[index + 1]) ? before.replace(/\n$/, '') : before;
    return plain.split(LINK).flatMap((part, odd) => (odd % 2 ? [link(part)] : withMentions(part, context)));
  });
}

/** One line of a message, for places that have no room for all of it. */
export function preview(message, length = 90) {
  if (message.is_deleted) return 'Message deleted';
  const text = (message.content ?? '').replace(/\s+/g, ' ').trim();
  const characters = [...text];
  return characters.length > length ? `${characters.slice(0, length - 1).join('')}…` : text;
}

/** Splits `text` at the words that are searched for, to highlight them. */
export function highlighted(text, query) {
  const words = query
    .split(/\s+/)
    .filter(Boolean)
    .map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  if (words.length === 0) return [text];
  return text
    .split(new RegExp(`(${words.join('|')})`, 'giu'))
    .map((part, odd) => (odd % 2 ? make('mark', {}, part) : part));
}
