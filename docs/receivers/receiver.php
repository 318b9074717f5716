<?php // Takes Rowcall's webhooks: each event is handled once, and what was lost is fetched. See README.md.

class Receiver
{
    function __construct(private $secret, private $since, private $handle, private $state, private $save) {}

    function receive(array $headers, string $body): int // the status to answer with
    {
        $moment = $headers['webhook-timestamp'] ?? '';
        $signed = ($headers['webhook-id'] ?? '') . ".$moment.$body";
        $key = base64_decode(preg_replace('/^whsec_/', '', $this->secret));
        $right = 'v1,' . base64_encode(hash_hmac('sha256', $signed, $key, true));
        $given = explode(' ', $headers['webhook-signature'] ?? '');
        $isRecent = ctype_digit($moment) && abs(time() - (int) $moment) <= 300;
        if (!$isRecent || !array_filter($given, fn ($one) => hash_equals($right, $one))) return 401;
        $event = json_decode($body, true, 512, JSON_THROW_ON_ERROR);
        if ($event['type'] === 'rowcall.heartbeat') {
            $this->catchUp($this->state['through'], (int) $event['data']['settled_through']);
            $this->catchUp($this->state['top'], (int) $event['data']['assigned']);
        } else {
            $this->catchUp($this->state['top'], (int) $event['sequence'] - 1);
            $this->take((int) $event['sequence'], $event);
        }
        return 204;
    }

    private function catchUp(int $after, int $until): void // of a hole, what is settled was lost; the rest is on its way
    {
        while ($after < $until) {
            $page = ($this->since)($after);
            foreach ($page['items'] as $item) {
                $after = (int) $item['sequence'];
                $isSettled = isset($item['tombstone']) || in_array($item['state'], ['delivered', 'dead']);
                try {
                    if ($isSettled) $this->take($after, $item['event'] ?? null);
                } catch (Exception $error) { // a heartbeat comes back to it
                    error_log("event $after could not be handled: " . $error->getMessage());
                }
            }
            $this->state['top'] = max($this->state['top'], $after);
            $until = $page['next'] ? $until : $after;
        }
    }

    private function take(int $number, ?array $event): void // all up to `through` are done; `done`: those beyond it
    {
        ['through' => &$through, 'top' => &$top, 'done' => &$done] = $this->state;
        $id = $event['id'] ?? "none for $number";
        if ($number <= $through || in_array($id, $done, true)) return;
        if ($event) ($this->handle)($event);
        for ($done[$number] = $id; isset($done[$through + 1]); $through++) unset($done[$through + 1]);
        $top = max($top, $number);
        ($this->save)($this->state);
    }
}
