<?php
/** PDO with pdo_mysql. */

declare(strict_types=1);

const LARGE_REPEATS = 32_000;

function connect(array $options = []): PDO
{
    ['SHOP_HOST' => $host, 'SHOP_PORT' => $port, 'SHOP_DATABASE' => $database] = getenv();
    $address = "mysql:host=$host;port=$port;dbname=$database;charset=utf8mb4";
    $defaults = [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_EMULATE_PREPARES => false];
    return new PDO($address, getenv('SHOP_USER'), getenv('SHOP_PASSWORD'), $options + $defaults);
}

// docs:begin
function enqueue(PDO $db, string $topic, string $key, string $payload, array $options = []): int
{
    $call = $db->prepare('CALL outbox_enqueue_returning_v1(?, ?, ?, ?, ?)');
    $call->execute(['shop.order', $topic, $key, $payload, json_encode((object) $options)]);
    $id = (int) $call->fetchColumn();
    $call->closeCursor(); // a CALL sends its status after the rows: without this the next statement fails
    return $id;
}

function placeOrder(PDO $db, string $customer): int
{
    $db->beginTransaction();
    try {
        $db->prepare('INSERT INTO shop_orders (customer) VALUES (?)')->execute([$customer]);
        $id = enqueue($db, 'shop', $customer, json_encode(['order' => (int) $db->lastInsertId()]));
        $db->commit();
        return $id;
    } catch (Throwable $error) {
        $db->rollBack();
        throw $error;
    }
}
// docs:end

function transaction(PDO $db, callable $work): mixed
{
    $db->beginTransaction();
    try {
        $result = $work($db);
        $db->commit();
        return $result;
    } catch (Throwable $error) {
        $db->rollBack();
        throw $error;
    }
}

function addOrder(PDO $db, string $customer): int
{
    $db->prepare('INSERT INTO shop_orders (customer) VALUES (?)')->execute([$customer]);
    return (int) $db->lastInsertId();
}

function report(string $case, array $found): void
{
    echo json_encode(['case' => $case] + $found, JSON_THROW_ON_ERROR), "\n";
}

$db = connect();

try {
    placeOrder($db, ''); // no message without a key
    throw new LogicException('it was not refused');
} catch (PDOException $error) {
    if ($error->errorInfo[1] !== 30001) {
        throw $error;
    }
}
report('commit', ['id' => placeOrder($db, 'Ada')]);

$db->beginTransaction();
addOrder($db, 'Bob');
$id = enqueue($db, 'shop', 'Bob', '{"order":1}');
$db->rollBack();
report('rollback', ['id' => $id]);

$enqueued = transaction($db, function (PDO $db): int {
    addOrder($db, 'Cleo');
    $message = ['biz_type' => 'shop.order', 'topic' => 'shop', 'key' => 'Cleo'];
    $messages = array_map(fn (int $order) => [...$message, 'payload' => ['order' => $order]], [1, 2, 3]);
    $db->prepare('CALL outbox_enqueue_batch_v1(?, @enqueued)')->execute([json_encode($messages)]);
    return (int) $db->query('SELECT @enqueued')->fetchColumn();
});
report('batch', ['enqueued' => $enqueued]);

$once = fn (PDO $db): int => enqueue($db, 'shop', 'Dora', '{"order":1}', ['dedup_key' => 'order 1']);
report('dedup', ['ids' => [transaction($db, $once), transaction($db, $once)]]);

$large = json_encode(['text' => str_repeat("Zoë 🛒 \"quoted\" \\ ' ? :name \n", LARGE_REPEATS)], JSON_UNESCAPED_UNICODE);
$id = transaction($db, fn (PDO $db): int => enqueue($db, 'shop', 'Eve', $large));
report('large', ['id' => $id, 'sha256' => hash('sha256', $large)]);

try {
    transaction($db, fn (PDO $db): int => enqueue($db, '', 'Finn', '{}'));
    report('refused', []);
} catch (PDOException $error) {
    [, $errno, $message] = $error->errorInfo;
    report('refused', ['errno' => $errno, 'message' => $message]);
}

$call = $db->prepare('CALL outbox_enqueue_returning_v1(?, ?, ?, ?, NULL)');
$ids = [];
foreach ([1, 2, 3] as $order) {
    $call->execute(['shop.order', 'shop', 'Gus', json_encode(['order' => $order])]);
    $ids[] = (int) $call->fetchColumn();
    $call->closeCursor();
}
report('prepared', ['ids' => $ids]);

// PHP's pool: a persistent connection, which the next `new PDO` of the same address gets again.
$ids = [];
$sessions = [];
foreach (['shop', '', 'shop'] as $topic) {
    $persistent = connect([PDO::ATTR_PERSISTENT => true]);
    $sessions[] = $persistent->query('SELECT CONNECTION_ID()')->fetchColumn();
    try {
        $ids[] = enqueue($persistent, $topic, 'Hal', '{}');
    } catch (PDOException $error) {
        if ($topic !== '') {
            throw $error;
        }
    }
    unset($persistent);
}
if (count(array_unique($sessions)) !== 1) {
    throw new LogicException('the connection was not kept');
}
report('pool', ['ids' => $ids]);

$found = transaction($db, function (PDO $db): array {
    $order = addOrder($db, 'Ida');
    enqueue($db, 'shop', 'Ida', json_encode(['order' => $order]));
    $db->exec('INSERT INTO shop_lines (order_id) VALUES (LAST_INSERT_ID())');
    $line = $db->query('SELECT order_id FROM shop_lines WHERE id = LAST_INSERT_ID()')->fetchColumn();
    return ['order' => $order, 'line_order' => (int) $line];
});
report('last_insert_id', $found);
