// What the cases of the browser test share: one server, two users, and the list of the cases.

/** In the order in which they are carried out: each begins where the one before ended. */
export const cases = [];
export const test = (name, run) => cases.push({ name, run });

/** server, browser, ada, bob: set before the first case. */
export const world = {};

/** The user's access token of the moment. */
export function token({ page }) {
  return page.evaluate(() => JSON.parse(localStorage.getItem('veza.session')).access_token);
}

/** A command over HTTP, in the name of the user of that page. */
export async function ask(user, type, data) {
  const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${await token(user)}` };
  const response = await fetch(`${world.server.url}/api/v1/${type}`, {
    method: 'POST',
    headers,
    body: JSON.stringify(data),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${type}: ${JSON.stringify(answer)}`);
  return answer;
}

/** A user without a page. */
export async function registered(username) {
  const body = JSON.stringify({ username, password: `password of ${username}` });
  const init = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body };
  return (await fetch(`${world.server.url}/api/v1/auth/register`, init)).json();
}

/** The id of the room that the user looks at. */
export const openId = ({ page }) => page.evaluate(() => Number(/^#room-(\d+)/.exec(location.hash)[1]));
