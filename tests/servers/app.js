// What Node's own server sees: one JSON line for each request whose body ended, and for each one that its parser refused.
const fs = require('fs');
const http = require('http');

const log = (entry) => fs.appendFileSync(process.argv[3], JSON.stringify(entry) + '\n');

const server = http.createServer((request, response) => {
    const body = [];
    request.on('data', (piece) => body.push(piece));
    request.on('end', () => {
        log({ method: request.method, target: request.url, body: Buffer.concat(body).toString('latin1') });
        response.end('ok');
    });
});
server.on('upgrade', (request, socket) => {
    log({ method: request.method, target: request.url, body: 'upgraded' });
    socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
});
server.on('clientError', (error, socket) => {
    // A body that was cut is no garbage.
    const isGarbage = (error.code || '').startsWith('HPE_') && error.code !== 'HPE_INVALID_EOF_STATE';
    if (isGarbage) log({ refused: error.code });
    socket.destroy();
});
server.listen(Number(process.argv[2]), '127.0.0.1');
