-- Forms and their submissions, per team.
-- The inner query would count the submissions of every team there is before the batch is cut out of the result, so
-- the narrowing is placed by hand, in both. Most queries need none of this.
SELECT
  f.team_id,
  COUNT(*) AS forms,
  SUM(CASE WHEN f.is_published THEN 1 ELSE 0 END) AS published_forms,
  SUM(COALESCE(s.total, 0)) AS submissions
FROM forms f
LEFT JOIN (
  SELECT form_id, SUM(total) AS total
  FROM submissions
  WHERE {{ batch("team_id") }}
  GROUP BY form_id
) s ON s.form_id = f.id
WHERE {{ batch("f.team_id") }}
GROUP BY f.team_id;
