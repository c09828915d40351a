import { useEffect, useState } from 'react';
import { useTexts } from '../i18n/use-text';
import { useUi } from '../ui/store';

/** Says in words whether what is shown is live. */
export function ConnectionMark() {
  const { t } = useTexts();
  const connection = useUi((state) => state.connection);
  const [now, setNow] = useState(() => Date.now());
  const waiting = connection.kind === 'waiting';
  useEffect(() => {
    if (!waiting) return;
    const timer = setInterval(() => { setNow(Date.now()); }, 500);
    return () => { clearInterval(timer); };
  }, [waiting]);
  const text =
    connection.kind === 'waiting'
      ? t('link.waiting', { seconds: Math.max(1, Math.ceil((connection.retryAt - now) / 1_000)) })
      : t(`link.${connection.kind}`);
  return (
    <span className={`connection connection-${connection.kind}`}>
      <span className="connection-dot" aria-hidden="true" />
      <span className="connection-text">{text}</span>
      {/* The countdown itself would be read out each second. */}
      <span className="visually-hidden" role="status">{waiting ? '' : text}</span>
    </span>
  );
}
