/* duty.pml: one duty, contended by Holdfast nodes and by nodes that run the npm package, in one table.
 *
 * The protocol is docs/adr/0010-duty-locks.md; tools/gates/model.py checks it with spin in `make test`. What is
 * asserted: no two signatures over different messages leave for the duty, whatever the order of steps, with nodes
 * that crash and start again at any step, statements that are lost, arrive late, or are done without an answer,
 * holders slower than everybody's patience, and cleanup at any moment. Time does not exist here: whatever depends
 * on an age (a takeover, a cleanup) may happen at once, so that safety is shown not to depend on any clock.
 *
 * The assumption about time is about the package alone, whose rules nobody can change: see ASSUMED below.
 *
 * Each NO_... and EARLY_... removes one guard; model.py checks that the assertion fails then. Each SEEN_... says
 * that something never happens and has to fail too, so that the model is known to reach what it is about.
 */

#ifndef HOLDFASTS
#define HOLDFASTS 2
#endif
#ifndef PACKAGES
#define PACKAGES 1
#endif
#ifndef REQUESTS
#define REQUESTS 2 /* of each node; one that crashes loses the request and all that it knows, and comes back with the next */
#endif
#ifndef LOSSES
#define LOSSES 1 /* statements without an answer, in all */
#endif

/* Status of the row; messages are 1 and 2. */
#define ABSENT 0
#define SIGNING 1
#define SIGNED 2

/* Operations that may still be on their way when nobody waits for them any more. */
#define INSERT 1
#define TAKE_OVER 2
#define COMPLETE 3
#define RELEASE 4

/* What a node learnt from the database. */
#define UNKNOWN 0
#define MINE 1
#define STORED 2
#define REFUSED 3
#define HELD 4
#define GONE 5
#define EXPIRED 6

/* ---- the database: everything here outlives crashes, and each step below is one transaction */

byte row_status = ABSENT;
byte row_message = 0;
byte row_token = 0;
byte row_node = 0;
bool watermark = false; /* this duty's slot lies at or below the mark that a cleanup left */

/* What a crash of the database leaves. Acquisitions and releases may be lost with it, the latest first; what
   any other statement has committed is on disk, and all before it. */
byte disk_status = ABSENT;
byte disk_message = 0;
byte disk_token = 0;
byte disk_node = 0;
bool disk_watermark = false;

/* ---- the world */

bool asked = false; /* the messages are alike, so whoever asks first asks for message 1 */
bool left_1 = false, left_2 = false; /* a signature over this message is in somebody's hands */
byte losses_left = LOSSES;
bool busy[HOLDFASTS + PACKAGES + 1]; /* a package node between its insert and its last statement */

/* A statement that has not arrived: at most one at a time, and none has to arrive at all. */
byte late_op = 0, late_message, late_token, late_old, late_node;

inline fresh_row(message, token, node)
{
    row_status = SIGNING;
    row_message = message;
    row_token = token;
    row_node = node;
}

inline flush()
{
#ifdef DATABASE_CRASHES
    disk_status = row_status;
    disk_message = row_message;
    disk_token = row_token;
    disk_node = row_node;
    disk_watermark = watermark
#else
    skip
#endif
}

inline no_row()
{
    row_status = ABSENT;
    row_message = 0;
    row_token = 0;
    row_node = 0;
}

/* The effects. A statement with a token does nothing when the row has another: that is the lock's ownership.
   An insert knows of no mark. */
inline do_insert(message, token, node)
{
    if
    :: row_status == ABSENT -> fresh_row(message, token, node)
    :: else -> skip
    fi
}

/* ASSUMED: no package node asks for a duty so old that Holdfast has cleaned it. */
#ifdef NO_ASSUMPTION
#define ALLOWED true
#else
#define ALLOWED !watermark
#endif

#ifdef NO_WATERMARK
#define BELOW false
#else
#define BELOW watermark
#endif
#ifdef NO_WATERMARK_AT_TAKE_OVER
#define BELOW_AT_TAKE_OVER false
#else
#define BELOW_AT_TAKE_OVER BELOW
#endif

inline do_take_over(message, token, old, node)
{
    if
#ifdef NO_MESSAGE_CHECK
    :: row_status == SIGNING && row_token == old ->
        row_message = message;
#else
    :: row_status == SIGNING && row_token == old && row_message == message && !BELOW_AT_TAKE_OVER ->
#endif
        row_token = token;
#ifndef NO_NODE_CHANGE
        row_node = node;
#endif
#ifndef ASYNCHRONOUS_TAKE_OVER
        flush()
#endif
    :: else -> skip
    fi
}

inline do_complete(token)
{
    if
    :: row_status == SIGNING && row_token == token -> row_status = SIGNED; row_token = 0; flush()
    :: else -> skip
    fi
}

inline do_release(token)
{
    if
    :: row_status == SIGNING && row_token == token -> no_row()
    :: else -> skip
    fi
}

/* The mutations of a completion believe what they have not seen. */
inline believe(message, token)
{
#ifdef NO_OWNERSHIP
    result = STORED
#else
    look(message, token)
#endif
}

inline leave(message)
{
    if
    :: message == 1 -> left_1 = true
    :: else -> left_2 = true
    fi;
    assert(!(left_1 && left_2))
}

/* A statement without an answer: done all the same, not done, or still to come. */
#define LOST (losses_left > 0)
inline maybe_later(op, message, token, old, node)
{
    losses_left--;
    if
    :: late_op == 0 ->
        late_op = op;
        late_message = message;
        late_token = token;
        late_old = old;
        late_node = node
    :: skip
    fi
}

/* Tokens are never used twice: this node's, for this request. */
#define TOKEN(id) (((id) << 2) + requests + 1)
#define TAKEN 64

inline choose_message()
{
    if
    :: message = 1
    :: asked -> message = 2
    fi;
    asked = true
}

/* ---- a Holdfast node */

#ifdef NO_MESSAGE_CHECK
#define SAME_MESSAGE true
#else
#define SAME_MESSAGE (row_message == message)
#endif

/* Reads what is recorded for the duty, as the answer to everything that is in doubt. */
inline look(message, token)
{
    if
    :: row_status == ABSENT && BELOW -> result = REFUSED
    :: row_status == ABSENT && !BELOW -> result = GONE
    :: row_status == SIGNED && row_message == message -> result = STORED
    :: row_status == SIGNING && row_token == token -> result = MINE
    :: row_status == SIGNING && SAME_MESSAGE && row_token != token ->
        /* Below the mark the row may be a package node's, made after an older one was cleaned. */
        if
        :: BELOW_AT_TAKE_OVER -> result = REFUSED
        :: !BELOW_AT_TAKE_OVER -> result = HELD; old = row_token
        fi
    :: row_status == SIGNED && row_message != message -> result = REFUSED
    :: row_status == SIGNING && !SAME_MESSAGE && row_token != token -> result = REFUSED
    fi
}

#ifdef EARLY_WATERMARK
#define MARK_READ below
#else
#define MARK_READ BELOW
#endif

/* What an acquisition makes of it: a lock at or below the mark is none. */
inline answer(message, token)
{
    look(message, token);
    if
    :: result == MINE && MARK_READ -> result = EXPIRED
    :: else -> skip
    fi
}

#ifdef NO_WATERMARK_AT_TAKE_OVER
#define answer_taken look
#else
#define answer_taken answer
#endif

/* Among Holdfast nodes alone not even the same message is signed afresh once a signature has left. */
inline granted_alone()
{
    assert(PACKAGES > 0 || result != MINE || !(left_1 || left_2))
}

/* From its first takeover on a request has another token, which tells that it must not be released. */
inline take()
{
    inserted = false;
    token = token | TAKEN
}

proctype Holdfast(byte id)
{
    byte requests = REQUESTS, message = 0, token = 0, old = 0, result = UNKNOWN;
    bool inserted = true; /* no takeover yet */
#ifdef EARLY_WATERMARK
    bool below = false;
#endif

    /* The end of a request, good or bad, and of a life: each step below may lead here. */
restart:
    atomic {
        message = 0; token = 0; old = 0; result = UNKNOWN; inserted = true;
        if
        :: requests == 0 -> goto end
        :: requests > 0 -> requests--
        fi;
        choose_message();
        token = TOKEN(id)
    }

acquire:
    /* One transaction, repeated until it is answered: the insert, then, of a row that it made, the mark in a newer
       snapshot. A mark that was read before the insert is a mark from before the deletion for which the insert may have
       had to wait. */
#ifdef EARLY_WATERMARK
    below = BELOW;
#endif
    atomic {
        if
        :: row_status == ABSENT -> do_insert(message, token, id); answer(message, token)
        :: row_status != ABSENT -> goto ask
        :: LOST -> maybe_later(INSERT, message, token, 0, id); result = UNKNOWN
        :: LOST -> losses_left--; do_insert(message, token, id); result = UNKNOWN
        fi;
        granted_alone();
        goto known
    }

ask:
    /* Another transaction, which writes nothing: row and mark in one snapshot. It finds the row of an insert whose
       answer was lost, too. */
    atomic {
        answer(message, token);
        granted_alone()
    }

known:
    atomic {
        if
        :: result == MINE -> goto complete /* and signs */
        :: result == MINE -> goto failed
        :: result == STORED -> goto stored
        :: result == HELD -> goto held
        :: result == GONE -> goto acquire
        :: result == UNKNOWN -> goto acquire
        /* The deadline, or too old: whatever row there is, or will be, is given back. */
        :: result == UNKNOWN || result == EXPIRED -> goto failed
        :: goto restart
        fi
    }

held:
    /* The holder is done, or counts as dead; or this node's client had its 409. */
    atomic {
        if
        :: goto ask
        :: take(); do_take_over(message, token, old, id); answer_taken(message, token); goto known
        :: LOST -> take(); maybe_later(TAKE_OVER, message, token, old, id); result = UNKNOWN; goto known
        :: LOST -> take(); losses_left--; do_take_over(message, token, old, id); result = UNKNOWN; goto known
        :: goto restart
        fi
    }

failed:
    /* Only who made the row may unmake it: the former holder of a row that was taken over may be a package node
       whose signature leaves even though its lock is lost. */
    atomic {
        if
#ifdef NO_INSERTER_CHECK
        :: true -> do_release(token)
#else
        :: inserted -> do_release(token)
#endif
        :: inserted && LOST -> maybe_later(RELEASE, message, token, 0, id)
        :: goto restart
        fi;
        goto restart
    }

complete:
    atomic {
#ifdef EARLY_LEAVE
        leave(message);
#endif
        if
        :: true ->
            do_complete(token);
            believe(message, token)
        :: LOST -> maybe_later(COMPLETE, message, token, 0, id); result = UNKNOWN
        :: LOST -> losses_left--; do_complete(token); result = UNKNOWN
        fi;
#ifdef NO_QUESTION
        if
        :: result == UNKNOWN -> result = STORED
        :: else -> skip
        fi
#endif
    }

completed:
    atomic {
        if
        :: result == STORED -> goto stored
        :: result == MINE -> goto complete
        :: result == UNKNOWN -> look(message, token); goto completed
#ifdef SEEN_LOST_LOCK
        :: result == REFUSED || result == GONE || result == HELD -> assert(false)
#endif
        :: goto restart /* among others when the lock is lost: the signature is wiped */
        fi
    }

stored:
    atomic {
        leave(message);
#ifdef SEEN_TAKE_OVER
        assert(inserted || row_node != id);
#endif
        goto restart
    }

end:
    skip
}

/* ---- a node with the package, version 4: its signature leaves though its lock is lost */

proctype Package(byte id)
{
    byte requests = REQUESTS, message = 0, token = 0, result = UNKNOWN;

restart:
    atomic {
        message = 0; token = 0; result = UNKNOWN; busy[id] = false;
        if
        :: requests == 0 -> goto end
        :: requests > 0 -> requests--
        fi;
        choose_message();
        token = TOKEN(id)
    }

poll:
    /* A row that is there is foreign, even when it is this node's own and the answer was lost. */
    atomic {
        if
        :: row_status == ABSENT && ALLOWED ->
            if
            :: true -> do_insert(message, token, id); flush(); busy[id] = true
            :: LOST -> maybe_later(INSERT, message, token, 0, id); goto restart
            :: LOST -> losses_left--; do_insert(message, token, id); flush(); goto restart
            fi
        :: row_status == SIGNING -> goto poll
        :: goto restart
        fi
    }

    /* The call for the signature fails, or comes back. */
    atomic {
        if
        :: true -> do_release(token); flush(); goto restart
        :: LOST -> maybe_later(RELEASE, message, token, 0, id); goto restart
        :: true -> do_complete(token)
        :: LOST -> maybe_later(COMPLETE, message, token, 0, id); goto restart
        :: LOST -> losses_left--; do_complete(token); goto restart
        :: goto restart
        fi
    }
    atomic {
        if
        :: leave(message)
        :: true
        fi;
        goto restart
    }

end:
    skip
}

/* ---- what happens beside them */

/* Whatever was on its way arrives, or the connection dies for good. */
proctype Network()
{
end:
    do
    :: atomic {
        late_op != 0 ->
        if
        :: late_op == INSERT -> do_insert(late_message, late_token, late_node)
        :: late_op == TAKE_OVER -> do_take_over(late_message, late_token, late_old, late_node)
        :: late_op == COMPLETE -> do_complete(late_token)
        :: late_op == RELEASE -> do_release(late_token)
        :: skip
        fi;
        if
        :: late_node > HOLDFASTS -> flush()
        :: else -> skip
        fi;
        late_op = 0; late_message = 0; late_token = 0; late_old = 0; late_node = 0
       }
    od
}

/* Holdfast's cleanup, of stuck and of old duties: the mark and the deletion are one transaction. The mark may
   also rise because of a later duty, while this one is still there. */
#ifdef ASYNCHRONOUS_CLEANUP
#define CLEANED skip
#else
#define CLEANED flush()
#endif
proctype Cleanup()
{
end:
    do
    :: atomic { row_status != ABSENT -> no_row(); watermark = true; CLEANED }
    :: atomic { !watermark -> watermark = true; CLEANED }
    od
}

/* The package's own: rows of its node id, once none of its own calls can still be at work (ASSUMED: signMessage
   returns before maxStuckDutiesAgeMs; where it does not, two package nodes contradict each other by themselves). */
proctype PackageCleanup(byte id)
{
end:
    do
    :: atomic { row_status == SIGNING && row_node == id && !busy[id] -> no_row(); flush() }
    od
}

#ifdef DATABASE_CRASHES
proctype Disk()
{
    byte crashes = DATABASE_CRASHES;

end:
    do
    :: atomic { flush() }
    :: atomic {
        crashes > 0 ->
        crashes--;
        row_status = disk_status;
        row_message = disk_message;
        row_token = disk_token;
        row_node = disk_node;
        watermark = disk_watermark;
        /* A statement that had not arrived dies with its connection: none comes from before the crash. */
        late_op = 0; late_message = 0; late_token = 0; late_old = 0; late_node = 0
       }
    od
}
#endif

init {
    byte i;
    atomic {
        i = 1;
        do
        :: i <= HOLDFASTS -> run Holdfast(i); i++
        :: i > HOLDFASTS && i <= HOLDFASTS + PACKAGES -> run Package(i); run PackageCleanup(i); i++
        :: i > HOLDFASTS + PACKAGES -> break
        od;
#ifdef DATABASE_CRASHES
        run Disk();
#endif
        run Network();
        run Cleanup()
    }
}
