"""How findings look: numbers, Markdown, figures, the HTML page, and the index of all reports."""
