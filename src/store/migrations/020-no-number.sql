-- A reported value that was no finite number, as its word: 'nan', 'inf' or '-inf'. Its `value` says nothing.
ALTER TABLE metric ADD COLUMN word TEXT;
