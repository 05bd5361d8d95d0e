// Runs before the page is drawn: the look that was chosen, if it is not the system's.
const chosen = localStorage.getItem('veza.theme');
if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
