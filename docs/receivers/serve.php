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

class Printer extends Receiver
{
    protected int $top = 0;
    protected array $missing = [];

    function __construct(private string $path) // in earnest: in the transaction of what handling the event writes
    {
        if (!is_file($path)) return;
        ['top' => $this->top, 'missing' => $this->missing] = json_decode(file_get_contents($path), true);
    }

    function save(): void // in the same
    {
        file_put_contents("$this->path.new", json_encode(['top' => $this->top, 'missing' => $this->missing]));
        rename("$this->path.new", $this->path);
    }

    function handle(array $event): void
    {
        say('verified ' . json_encode($event, JSON_UNESCAPED_SLASHES));
    }

    function since(int|string|null $after): Generator // the items behind a number, page after page
    {
        $http = ['header' => 'Authorization: Bearer ' . getenv('KEY'), 'timeout' => 10];
        while (getenv('SINCE') && $after !== null) {
            $text = file_get_contents(getenv('SINCE') . "/$after", false, stream_context_create(['http' => $http]));
            if ($text === false) throw new RuntimeException('Rowcall did not answer');
            ['items' => $items, 'next' => $after] = json_decode($text, true, 512, JSON_THROW_ON_ERROR);
            yield from $items;
        }
    }
}

function status(array $headers, string $body, string $path): int
{
    try {
        $event = verify(getenv('SECRET'), $headers, $body);
    } catch (Exception) {
        say('REFUSED');
        return 401;
    }
    $lock = fopen("$path.lock", 'c');
    flock($lock, LOCK_EX); // one request after the other
    try {
        (new Printer($path))->receive($event);
    } catch (Exception $error) { // it is sent again
        say('failed ' . $error->getMessage());
        return 500;
    }
    return 204;
}

$path = getenv('STATE') ?: sys_get_temp_dir() . '/rowcall-receiver.json';
$headers = array_change_key_case(getallheaders());
http_response_code(status($headers, file_get_contents('php://input'), $path));
