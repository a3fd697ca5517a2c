// The person's key, where the server asks for one: kept in sessionStorage, for this tab and no longer.

const NAME = "vicmae_key";

export function keyHeader() {
  const key = sessionStorage.getItem(NAME);
  return key ? { authorization: `Bearer ${key}` } : {};
}

export function rememberKey(key) {
  sessionStorage.setItem(NAME, key.trim());
  layCookie();
}

// Pictures, films and event streams cannot carry a header: for them the key lies in a cookie of this session too.
export function layCookie() {
  const key = sessionStorage.getItem(NAME);
  if (!key) return;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${NAME}=${encodeURIComponent(key)}; Path=/; SameSite=Strict${secure}`;
}

layCookie();
