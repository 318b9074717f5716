<?php
// A server to try receiver.php with: prints each event once, and acknowledges it.
//
// Usage: SECRET=whsec_... STATE=/var/lib/shop/state.json php -S 127.0.0.1:9000 docs/receivers/serve.php
//
// With SINCE=http://127.0.0.1:8080/v1/subscriptions/<id>/since and KEY=<API key> in the environment it
// fetches what was lost. STATE names the file in which it remembers what it has handled.
require __DIR__ . '/receiver.php';

function say(string $text): void
{
    file_put_contents('php://stdout', "$text\n");
}

$path = getenv('STATE') ?: sys_get_temp_dir() . '/rowcall-receiver.json';
$lock = fopen("$path.lock", 'c');
flock($lock, LOCK_EX); // one request after the other
$state = is_file($path) ? json_decode(file_get_contents($path), true) : ['through' => 0, 'top' => 0, 'done' => []];

$since = function (int $after): array {
    if (!getenv('SINCE')) return ['items' => [], 'next' => null];
    $http = ['header' => 'Authorization: Bearer ' . getenv('KEY'), 'timeout' => 10];
    $text = file_get_contents(getenv('SINCE') . "/$after", false, stream_context_create(['http' => $http]));
    if ($text === false) throw new RuntimeException('Rowcall did not answer');
    return json_decode($text, true, 512, JSON_THROW_ON_ERROR);
};
$handle = fn (array $event) => say('verified ' . json_encode($event, JSON_UNESCAPED_SLASHES));
$save = function (array $state) use ($path): void { // in earnest: in the transaction of what handling the event writes
    file_put_contents("$path.new", json_encode($state));
    rename("$path.new", $path);
};

$headers = array_change_key_case(getallheaders());
try {
    $receiver = new Receiver(getenv('SECRET'), $since, $handle, $state, $save);
    $status = $receiver->receive($headers, file_get_contents('php://input'));
    if ($status === 401) say('REFUSED');
} catch (Exception $error) { // it is sent again
    $status = 500;
    say('failed ' . $error->getMessage());
}
http_response_code($status);
