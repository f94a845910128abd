-- sql/integrations.sql
SELECT
  team_id,
  service,
  CASE WHEN status = 'disconnected' THEN 0 ELSE 1 END AS connected,
  CASE status WHEN 'connected' THEN 'active' ELSE status END AS status,
  error
FROM integrations
