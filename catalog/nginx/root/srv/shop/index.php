<?php
// The page of the shop: greets, says which server answered, and counts the visit in the database.
declare(strict_types=1);

$settings = require '/etc/appliance/application.php';
header('Content-Type: text/plain; charset=utf-8');
header('Cache-Control: no-store');

function visits(array $database): int
{
    $connection = new PDO(
        "pgsql:host={$database['host']};port={$database['port']};dbname={$database['name']};connect_timeout=5",
        $database['user'],
        $database['password'] ?? null,
        [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION],
    );
    $connection->beginTransaction();
    // Two servers may be the first at the same time.
    $connection->query('SELECT pg_advisory_xact_lock(1)');
    $connection->query('CREATE TABLE IF NOT EXISTS visits (at timestamptz NOT NULL DEFAULT now(), server text NOT NULL)');
    $connection->prepare('INSERT INTO visits (server) VALUES (?)')->execute([gethostname()]);
    $count = (int) $connection->query('SELECT count(*) FROM visits')->fetchColumn();
    $connection->commit();
    return $count;
}

try {
    $count = isset($settings['database']) ? (string) visits($settings['database']) : 'not counted';
} catch (PDOException $problem) {
    error_log($problem->getMessage());
    http_response_code(503);
    exit("The database does not answer.\n");
}
echo $settings['greeting'], "\n";
echo 'server: ', gethostname(), "\n";
echo 'visits: ', $count, "\n";
