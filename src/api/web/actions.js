// What can be done to a message: only what its reader may do is offered.

import { avatar, failed, make, when } from './dom.js';
import { confirmDialog, field, openDialog } from './dialog.js';
import { pickEmoji } from './emoji.js';
import { app, announce, call, me } from './state.js';
import { contentNode } from './message-parts.js';
import { toast } from './notify.js';

const ids = ({ room_id, message_id }) => ({ room_id, message_id });

/** Adds the caller's reaction, or takes it back; `add`: never takes back. */
export async function toggleReaction(room, message, emoji, add = false) {
  const own = message.reactions?.find((reaction) => reaction.emoji === emoji)?.me;
  if (own && add) return;
  await call(own ? 'remove_reaction' : 'add_reaction', { ...ids(message), emoji });
  announce(own ? `Took back ${emoji}` : `Reacted with ${emoji}`);
}

async function togglePin(message) {
  await call(message.is_pinned ? 'unpin_message' : 'pin_message', ids(message));
  toast(message.is_pinned ? 'Unpinned.' : 'Pinned to this room.');
}

function remove(message) {
  const own = message.author_id === me().user_id;
  const reason = make('input', { maxLength: 250, autocomplete: 'off' });
  const run = () =>
    call('delete_message', { ...ids(message), ...(reason.value.trim() && { reason: reason.value.trim() }) });
  const text = own
    ? 'It disappears for everybody. A note stays that there was a message.'
    : `The message of ${message.username} disappears for everybody. A note stays that there was a message.`;
  const fields = own ? [] : [field('Reason', reason, '(optional)')];
  confirmDialog('Delete this message?', text, { label: 'Delete', run }, ...fields);
}

const linkTo = ({ room_id, message_id }) => `${location.origin}${location.pathname}#room-${room_id}/m${message_id}`;

async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
    toast(done);
  } catch {
    openDialog(
      'Copy',
      { size: 'small' },
      field(
        'Your browser does not let the page copy. Copy it from here',
        make('textarea', { value: text, readOnly: true, rows: 4 }),
      ),
    );
  }
}

/** The actions of a message: {name, label, icon, action, danger?, hint?}; null between groups. */
export function actionsOf(room, message, { inThread, edit }) {
  const can = (permission) => app.model.can(room, permission);
  const mayWrite = (permission) => app.model.mayWrite(room, permission);
  const own = message.author_id === me().user_id;
  const gone = message.is_deleted;
  const all = [
    !gone &&
      mayWrite('react') && {
        name: 'react',
        label: 'React…',
        icon: 'smile',
        hint: '+',
        action: () => reactByMenu(room, message),
      },
    !inThread &&
      (!gone || message.thread_count > 0) && {
        name: 'thread',
        label: 'Reply in thread',
        icon: 'thread',
        hint: 'R',
        action: () => app.openThread(room, message.parent_id ?? message.message_id),
      },
    !gone && own && mayWrite('edit_own') && { name: 'edit', label: 'Edit', icon: 'edit', hint: 'E', action: edit },
    !gone &&
      (message.is_pinned ? can('pin') : mayWrite('pin')) && {
        name: 'pin',
        label: message.is_pinned ? 'Unpin' : 'Pin',
        icon: 'pin',
        hint: 'P',
        action: () => togglePin(message),
      },
    null,
    !gone && {
      name: 'copy',
      label: 'Copy text',
      icon: 'copy',
      hint: 'C',
      action: () => copy(message.content, 'Copied.'),
    },
    { name: 'link', label: 'Copy link', icon: 'link', hint: 'L', action: () => copy(linkTo(message), 'Link copied.') },
    message.is_edited &&
      !gone && { name: 'history', label: 'Edit history', icon: 'history', action: () => showEdits(room, message) },
    !gone &&
      message.reactions?.some((reaction) => reaction.count > 0) && {
        name: 'who',
        label: 'Who reacted',
        icon: 'users',
        action: () => showReactions(room, message),
      },
    null,
    !gone &&
      ((own && can('delete_own')) || can('delete_any')) && {
        name: 'delete',
        label: 'Delete…',
        icon: 'trash',
        danger: true,
        hint: 'Del',
        action: () => remove(message),
      },
  ];
  const kept = all.filter((action) => action === null || action);
  return kept.every((action) => action === null) ? [] : kept;
}

function reactByMenu(room, message) {
  const node = document.querySelector(`.message[data-id="${message.message_id}"]`);
  pickEmoji(node ?? document.body, (emoji) => toggleReaction(room, message, emoji, true).catch(failed));
}

/** All versions of a message, the newest first. */
export async function showEdits(room, message) {
  const { edits } = await call('get_edits', ids(message));
  const versions = edits.map(({ content, edited_at, editor_id, reason }, index) => {
    const label = index === 0 ? 'Original' : `Edit ${index}`;
    const now = index === edits.length - 1 ? ' · now' : '';
    const who = editor_id && editor_id !== message.author_id ? ` by ${app.model.nameOf(editor_id)}` : '';
    const head = `${label}${now} · ${when(edited_at ?? message.created_at)}${who}`;
    const shown = contentNode({ content, mentions: message.mentions });
    return make(
      'li',
      {},
      make('p', { class: 'note' }, head),
      shown,
      reason && make('p', { class: 'note' }, `Reason: ${reason}`),
    );
  });
  openDialog('Edit history', {}, make('ol', { class: 'versions' }, ...versions.reverse()));
}

/** Who reacted how. */
export async function showReactions(room, message) {
  const { reactions } = await call('get_reactions', ids(message));
  const groups = reactions.map(({ emoji, count, users }) => {
    const people = users.map(({ user_id, username }) =>
      make('li', {}, avatar(username, user_id), make('span', { class: 'name' }, username)),
    );
    const more = count > users.length ? make('p', { class: 'note' }, `and ${count - users.length} more`) : null;
    return make('section', {}, make('h3', {}, `${emoji} ${count}`), make('ul', { class: 'people' }, ...people), more);
  });
  openDialog('Reactions', { size: 'small' }, make('div', { class: 'reaction-people' }, ...groups));
}
