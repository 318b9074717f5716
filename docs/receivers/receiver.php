<?php // Takes Rowcall's webhooks: each event is handled once, and what was lost is fetched. See README.md.

function verify(string $secret, array $headers, string $body): array { // the event, or an exception
    ['webhook-id' => $id, 'webhook-timestamp' => $moment, 'webhook-signature' => $given] = $headers;
    $key = base64_decode(substr($secret, strlen('whsec_')));
    $right = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$moment.$body", $key, true));
    $isRight = array_filter(explode(' ', $given), fn ($one) => hash_equals($right, $one));
    if (!$isRight || abs(time() - (int) $moment) > 300) throw new DomainException('not signed, or long ago');
    return json_decode($body, true, 512, JSON_THROW_ON_ERROR);
}

abstract class Receiver { // yours adds since, handle and save, and sets top and missing
    function receive(array $event): void {
        $isBeat = $event['type'] === 'rowcall.heartbeat';
        $isLost = fn (int $one) => $isBeat && $one <= (int) $event['data']['settled_through'];
        $until = $isBeat ? (int) $event['data']['assigned'] : $event['sequence'] - 1;
        $after = min([$this->top + 1, ...array_filter($this->missing, $isLost)]) - 1;
        foreach ($after < $until ? $this->since($after) : [] as $item) {
            // What is settled and not here was lost; the rest is on its way.
            if (in_array($item['state'] ?? '', ['pending', 'sending', 'held'])) continue;
            try { $this->take((int) $item['sequence'], $item['event'] ?? null); }
            catch (Throwable $error) { error_log("event $item[sequence] waits for a heartbeat: $error"); }
        }
        if (!$isBeat) $this->take((int) $event['sequence'], $event);
    }

    private function take(int $number, ?array $event): void { // up to `top` all is done but what is `missing`
        if ($number <= $this->top && !in_array($number, $this->missing)) return;
        if ($event) $this->handle($event);
        while ($this->top < $number) $this->missing[] = ++$this->top;
        $this->missing = array_values(array_diff($this->missing, [$number]));
        $this->save();
    }
}
