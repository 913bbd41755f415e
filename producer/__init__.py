"""producer, the program that decides what is tokenized: corpora in, Redis messages out. Never imports `workers`."""
