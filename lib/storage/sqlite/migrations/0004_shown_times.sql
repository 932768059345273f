-- A summary is the text that lists send: its times have three digits after the second,
-- where they had six or none. What is null stays null.

UPDATE runs SET summary = json_set(
    summary,
    '$.created_at', substr(json_extract(summary, '$.created_at'), 1, 19)
        || CASE substr(json_extract(summary, '$.created_at'), 20, 1)
            WHEN '.' THEN substr(json_extract(summary, '$.created_at'), 20, 4) ELSE '.000' END || 'Z',
    '$.queued_at', substr(json_extract(summary, '$.queued_at'), 1, 19)
        || CASE substr(json_extract(summary, '$.queued_at'), 20, 1)
            WHEN '.' THEN substr(json_extract(summary, '$.queued_at'), 20, 4) ELSE '.000' END || 'Z',
    '$.started_at', substr(json_extract(summary, '$.started_at'), 1, 19)
        || CASE substr(json_extract(summary, '$.started_at'), 20, 1)
            WHEN '.' THEN substr(json_extract(summary, '$.started_at'), 20, 4) ELSE '.000' END || 'Z',
    '$.finished_at', substr(json_extract(summary, '$.finished_at'), 1, 19)
        || CASE substr(json_extract(summary, '$.finished_at'), 20, 1)
            WHEN '.' THEN substr(json_extract(summary, '$.finished_at'), 20, 4) ELSE '.000' END || 'Z'
);
