// The door: signing in, and the session that the tabs of this browser share.

import { $ } from './dom.js';
import { explain } from './errors.js';
import { signIn } from './veza-client.js';

export const SESSION_KEY = 'veza.session';

const storage = () => (localStorage.getItem(SESSION_KEY) ? localStorage : sessionStorage);

export const sessions = {
  load() {
    const text = storage().getItem(SESSION_KEY);
    return text ? JSON.parse(text) : null;
  },
  save(session) {
    const place = storage();
    if (session) place.setItem(SESSION_KEY, JSON.stringify(session));
    else for (const kind of [localStorage, sessionStorage]) kind.removeItem(SESSION_KEY);
  },
  /** Web locks exist on secure origins only (https and localhost); elsewhere one tab is assumed. */
  lock(work) {
    return navigator.locks ? navigator.locks.request(SESSION_KEY, work) : work();
  },
};

let registering = false;

export function showSignIn(notice = '') {
  $('chat').hidden = true;
  $('sign-in').hidden = false;
  $('sign-in-notice').textContent = notice;
  $('sign-in-notice').hidden = !notice;
  document.title = 'Veza';
  $('username').focus();
}

export function setMode(register) {
  registering = register;
  $('sign-in-title').textContent = register ? 'Create your account' : 'Welcome back';
  $('sign-in-submit').textContent = register ? 'Create account' : 'Log in';
  $('switch-text').textContent = register ? 'Have an account?' : 'New here?';
  $('switch-mode').textContent = register ? 'Log in' : 'Create an account';
  $('password').autocomplete = register ? 'new-password' : 'current-password';
  $('sign-in-error').textContent = '';
}

function signInError(error) {
  if (registering && error.code === 'CONFLICT') return 'This username is taken.';
  if (error.code === 'RATE_LIMIT_EXCEEDED') return 'Too many attempts. Please wait a minute.';
  return explain(error);
}

function incomplete(username, password) {
  if (!username) return [$('username'), 'Please enter a username.'];
  if (registering && !/^[A-Za-z0-9_.-]{3,32}$/.test(username)) {
    return [$('username'), 'A username has 3 to 32 letters, digits, dots, dashes or underscores.'];
  }
  if (registering && password.length < 8) return [$('password'), 'A password has at least 8 characters.'];
  return password ? null : [$('password'), 'Please enter a password.'];
}

async function onSignIn(event, enter) {
  event.preventDefault();
  const [username, password] = [$('username').value.trim(), $('password').value];
  const problem = incomplete(username, password);
  $('sign-in-error').textContent = problem?.[1] ?? '';
  if (problem) {
    problem[0].focus();
    return;
  }
  $('sign-in-submit').disabled = true;
  try {
    const session = await signIn(location.origin, registering ? 'register' : 'login', { username, password });
    ($('remember').checked ? localStorage : sessionStorage).setItem(SESSION_KEY, JSON.stringify(session));
    $('password').value = '';
    enter(session);
  } catch (error) {
    $('sign-in-error').textContent = signInError(error);
    $('password').select();
  } finally {
    $('sign-in-submit').disabled = false;
  }
}

/** `enter(session)` is called when somebody has signed in. */
export function wireSignIn(enter) {
  $('sign-in-form').addEventListener('submit', (event) => onSignIn(event, enter));
  $('switch-mode').addEventListener('click', () => setMode(!registering));
  setMode(false);
}
