"""What an archive says of itself, and whether it is fit to be published.

- `metadata`: title, authors, licence and the rest, as values that were checked
- `attributes`: the same as texts in the container
- `toml_text`: the same as text to edit
- `citation`, `crate`: the same for others: CITATION.cff, DataCite, RO-Crate
- `check`, `atom_counts`, `private_traces`: what a repository would miss
"""
