CREATE TABLE kept (id INTEGER PRIMARY KEY, status TEXT);
INSERT INTO kept VALUES (1, 'as it was');
CREATE TABLE unkeyed (id INTEGER, status TEXT, amount REAL, updated_at TEXT);
CREATE TABLE narrow (id INTEGER PRIMARY KEY, updated_at TEXT);
CREATE TABLE demanding (id INTEGER PRIMARY KEY, status TEXT, amount REAL, updated_at TEXT, reason TEXT NOT NULL);
CREATE VIEW shown AS SELECT * FROM kept;
